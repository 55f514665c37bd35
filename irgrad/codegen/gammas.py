"""The gamma function and its relatives written out in arithmetic, without branches: see `irgrad.codegen.polynomial`.

Arguments between -1/2 and 8.5 are moved to within 1/2 of 2 by factors, larger ones have Stirling's series (DLMF 5.11), and those below
-1/2 are reflected (DLMF 5.5.3). Polynomials interpolate at Chebyshev points.
"""

from __future__ import annotations

import math
from typing import Any

from irgrad.codegen.reals import Real

LAST = 8.0  # nearest whole number of arguments that are moved
INFINITE = 200.0  # gamma is infinite there
HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
# log(gamma(2 + t)) / t, and gamma(2 + t), for |t| <= 1/2: relative errors 2e-17 and 4e-18
LOG_GAMMA = (0.42278433509846713, 0.3224670334241132, -0.06735230105319814, 0.02058080842778457, -0.0073855510286681535,
             0.002890510330738737, -0.0011927539120010226, 0.0005096695248853096, -0.00022315475074520367, 9.945750909889392e-05,
             -4.4926351103833334e-05, 2.050726741605779e-05, -9.438458716242811e-06, 4.374374916915131e-06, -2.0449201467015115e-06,
             9.578663334114758e-07, -4.303558760359961e-07, 2.0304806751615227e-07, -1.3412819758517287e-07,
             6.379047507619774e-08)  # fmt: skip
GAMMA = (1.0, 0.42278433509846713, 0.41184033042644064, 0.0815769192470858, 0.07424901075338801, -0.00026698206868206766,
         0.011154045724557167, -0.0028526458243686085, 0.002103933174405157, -0.0009195737556751735, 0.0004903909165362433,
         -0.00024094266875000244, 0.00012165162946720078, -6.078180215145502e-05, 3.0576257282864494e-05, -1.5296289519910945e-05,
         7.216424561413336e-06, -3.609421076900372e-06, 2.6259112907777463e-06, -1.3131191509664216e-06)  # fmt: skip
# Stirling's series from 8.5 on: of the logarithm in 1 / x**2, times x; of gamma in 1 / x: 6e-17 and 2e-18
STIRLING_LOG = (0.08333333333333333, -0.0027777777777777315, 0.0007936507935804795, -0.000595238054286464, 0.0008417390684787214,
                -0.0019156731645284437, 0.006245851067974246, -0.02164244020601618)  # fmt: skip
STIRLING = (1.0, 0.08333333333333201, 0.003472222222593901, -0.0026813272006511366, -0.00022946990012484418, 0.000783970862326238,
            7.101048576518959e-05, -0.0006067302196924553, 4.312712967694416e-05, 0.0005544109489033123)  # fmt: skip
# sin(pi r) / r and cos(pi r) in r**2 for |r| <= 1/2: 4e-17, 8e-17
SIN_PI = (3.141592653589793, -5.167712780049969, 2.5501640398773007, -0.5992645293189447, 0.0821458865731029, -0.007370430505916944,
          0.0004662998161898394, -2.1903497074626018e-05, 7.697826768224191e-07)  # fmt: skip
COS_PI = (1.0, -4.934802200544679, 4.058712126416768, -1.3352627688545549, 0.235330630357995, -0.025806891376592964,
          0.0019295741872812349, -0.00010463741681752138, 4.300724172734847e-06, -1.34352129509532e-07)  # fmt: skip
# psi(x) / (x - ROOT) in x - 1.5 on [1, 2]: 5e-17
ROOT, ROOT_REST = 1.4616321449683622, 9.549995429965697e-17
PSI = (0.9510558760318328, -0.4236274212814606, 0.24054248424078697, -0.14840492305388092, 0.09498872445289039, -0.06192213327548831,
       0.040760833940846085, -0.026975796659787055, 0.017907248317313294, -0.011908220105959716, 0.007927021796868154,
       -0.005279937255532708, 0.003518106563802472, -0.0023454947397380833, 0.0015633696313653504, -0.0010364584817312839,
       0.0006909255761282986, -0.00048595039220036254, 0.00032395945401345196, -0.00014480643368061614, 9.653646261410062e-05,
       -0.0001782188548855923, 0.00011881232908510335)  # fmt: skip
# (log(x) - 1 / (2 x) - psi(x)) x**2 in 1 / x**2 from 6 on: 6e-17
PSI_FAR = (0.08333333333333333, -0.008333333333329406, 0.0039682539644546435, -0.004166665241793544, 0.007575487397643578,
           -0.02106361186213344, 0.08143630505895334, -0.3678576332203165, 1.2391679864370457)  # fmt: skip


class _Moved:
    """An argument and where it is moved to.

    `is_reflected` says of arguments below -1/2 that they have changed their sign. The result, `x`, is `whole + rest`; where it `is_near`,
    gamma(x) is gamma(2 + rest) times the product of what is between, or where it `is_below` 3/2 over that product.
    """

    def __init__(self, x: Real) -> None:
        w = x.writer
        self.is_reflected = x.compared("<", -0.5)
        self.x = abs(x).where(self.is_reflected, x)
        self.whole = self.x.call("rint")
        self.rest = self.x - self.whole
        self.is_near = self.whole.compared("<=", LAST)
        self.is_below = self.whole.compared("<", 2.0)
        first = self.whole.compared("<", 1.0)
        product = (self.x * (self.x + 1.0)).where(first, self.x.where(self.is_below, 1.0))
        for k in range(1, int(LAST) - 1):
            product = product * (self.x - float(k)).where(self.whole.compared(">=", k + 2.0), 1.0)
        self.product = product
        self.is_pole = w.and_(self.is_reflected, self.rest.compared("==", 0.0))

    def sine(self) -> Real:
        """sin(pi rest)."""
        return self.rest * (self.rest * self.rest).polynomial(SIN_PI)


def gammaln(w: Any, given: Any) -> Any:
    """log |gamma(x)|: within 4 ulp for x > 0, near its zeros 1 and 2 too; below within 4 ulp of the largest term, or of 1."""
    x = Real(w, given)
    m = _Moved(x)
    log = abs(m.product).where(m.is_near, m.x).libm("log")
    near = m.rest.fma(m.rest.polynomial(LOG_GAMMA), (-log).where(m.is_below, log))
    inverse = 1.0 / m.x
    series = inverse * (inverse * inverse).polynomial(STIRLING_LOG) + (HALF_LOG_2PI - 0.5)
    size = near.where(m.is_near, (m.x - 0.5).fma(log - 1.0, series))
    other = -((m.x * (abs(m.sine()) * (1.0 / math.pi))).libm("log") + size)
    made = other.where(m.is_reflected, size)
    return x.where(x.compared("==", -math.inf), made.but(m.is_pole, math.inf)).value


def _ratio(m: _Moved) -> tuple[Real, Real]:
    """Numerator and denominator of gamma(x)."""
    g = m.rest.polynomial(GAMMA)
    far = m.x.least(INFINITE)
    power = far.libm("pow", far * 0.5 - 0.25)
    far = power * (power * (-far).libm("exp")) * ((1.0 / m.x).polynomial(STIRLING) * math.sqrt(2.0 * math.pi))
    above = g.where(m.is_below, g * m.product).where(m.is_near, far)
    below = m.product.where(m.is_below, 1.0)
    half = m.whole * 0.5
    even = half.call("floor").compared("==", half)
    turned = m.x * m.sine() * above
    return (below * math.pi).where(m.is_reflected, above), (-turned).where(even, turned).where(m.is_reflected, below)


def gamma(w: Any, given: Any) -> Any:
    """gamma(x): within 8 ulp."""
    x = Real(w, given)
    m = _Moved(x)
    above, below = _ratio(m)
    return (above / below).but(w.or_(m.is_pole, x.compared("==", -math.inf)), math.nan).value


def rgamma(w: Any, given: Any) -> Any:
    """1 / gamma(x): within 8 ulp."""
    x = Real(w, given)
    m = _Moved(x)
    above, below = _ratio(m)
    return (below / above).but(w.or_(m.is_pole, abs(x).compared("==", math.inf)), 0.0).value


def psi(w: Any, given: Any) -> Any:
    """The logarithmic derivative of gamma: within 4 ulp for x > 0, near its zero too; below within 4 ulp of the largest term, or of 1."""
    x = Real(w, given)
    reflected = x.compared("<", 0.0)
    y = (1.0 - x).where(reflected, x)
    first, far = y.compared("<", 1.0), y.compared(">=", 6.0)
    above, below = x.made(w.select(first, x.of(-1.0), x.of(0.0))), y.where(first, 1.0)  # of the sum of what moving adds
    at = (y + 1.0).where(first, y)
    for k in range(1, 5):
        on, factor = y.compared(">=", k + 1.0), y - float(k)
        above, below = above.fma(factor, below).where(on, above), (below * factor).where(on, below)
        at = factor.where(on, at)
    near = ((at - ROOT) - ROOT_REST) * (at - 1.5).polynomial(PSI)
    square = 1.0 / (y * y)
    asymptotic = (-square).fma(square.polynomial(PSI_FAR), y.libm("log"))
    above, below = above.but(far, -0.5), y.where(far, below)
    rest = x - x.call("rint")
    squared = rest * rest
    sine, cosine = rest * squared.polynomial(SIN_PI), squared.polynomial(COS_PI) * math.pi
    sums = above.fma(sine, -(cosine * below)).where(reflected, above) / (below * sine).where(reflected, below)
    made = asymptotic.where(far, near) + sums
    return made.but(w.and_(reflected, rest.compared("==", 0.0)), math.nan).value


FUNCTIONS = {"gammaln": gammaln, "gamma": gamma, "rgamma": rgamma, "psi": psi}
