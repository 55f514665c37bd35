"""The modified Bessel functions of orders 0 and 1 written out in arithmetic, without branches: see `irgrad.codegen.polynomial`.

Up to 8, polynomials in the square (DLMF 10.25.2), whose terms are all positive; beyond, in the inverse (10.40.1), over the root.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from irgrad.codegen.reals import Real

LAST = 8.0
# I0(x) and 2 I1(x) / x in (x / 2)**2 up to x = 8: relative errors 2e-17
NEAR = (
    (1.0, 1.0, 0.25, 0.02777777777777778, 0.001736111111111106, 6.94444444444488e-05, 1.9290123456765543e-06, 3.9367598892378866e-08,
     6.151187324009745e-10, 7.594058486836424e-12, 7.594057493384469e-14, 6.276092616120491e-16, 4.358286919760222e-18,
     2.5796346353114483e-20, 1.3122104575180078e-22, 5.976589569234451e-25, 1.9739699188457068e-27, 1.2294574273495177e-29),
    (1.0, 0.5, 0.08333333333333333, 0.006944444444444445, 0.00034722222222222196, 1.1574074074074299e-05, 2.7557319223973204e-07,
     4.920949861476153e-09, 6.834652583882281e-11, 7.594058458444663e-13, 6.903688997316025e-15, 5.2300736107170654e-17,
     3.35255437560049e-19, 1.8424569560103177e-21, 8.753399595292974e-24, 3.7215794375522944e-26, 1.1827522120067012e-28,
     6.675772217304018e-31),
)  # fmt: skip
# exp(-x) sqrt(x) I0(x), and that of I1, in 1 / x from 8 on: 2e-16
FAR = (
    (0.3989422804014326, 0.04986778505057526, 0.02805062863012607, 0.02921962812564499, 0.044684405035702555, 0.09980827652513562,
     -0.7483716592953956, 73.59360958216782, -3969.965502723388, 162167.16949983014, -5048570.316395302, 121293299.1619622,
     -2263498072.145695, 32874416236.277763, -370646882642.67163, 3219964860516.003, -21266592715060.86, 104486942278561.95,
     -368768378577403.0, 881061213155210.1, -1272240003938202.2, 835449195443529.9),
    (0.39894228040143276, -0.14960335515093984, -0.04675104801657456, -0.04090739373135864, -0.05746702136023863, -0.12007484195456436,
     0.72002942897681, -74.60216041486335, 4013.4210722832067, -163690.75667227557, 5086129.133574987, -121914418.4019789,
     2268837272.0557785, -32843675736.62536, 368839813565.6539, -3189035483510.477, 20941110984014.24, -102167268761621.6,
     357487166914020.8, -845032117922486.5, 1203906948860816.2, -776990417057461.0),
)  # fmt: skip


def _bessel(order: int, is_scaled: bool) -> Callable[[Any, Any], Any]:
    def write(w: Any, given: Any) -> Any:
        x = Real(w, given)
        size = abs(x)
        is_near = size.compared("<=", LAST)
        growth = (-size if is_scaled else size).libm("exp")
        near = (size * size * 0.25).polynomial(NEAR[order])
        near = near * (size * 0.5) if order else near
        far = (1.0 / size).polynomial(FAR[order])
        near, far = (near * growth, far) if is_scaled else (near, far * growth)
        made = near.where(is_near, far / size.call("sqrt"))
        made = made.but(size.compared("==", math.inf), 0.0 if is_scaled else math.nan)  # as scipy
        return (made.call("copysign", x) if order else made).value

    write.__doc__ = f"{'exp(-|x|) times ' if is_scaled else ''}I{order}(x): within 6 ulp."
    return write


FUNCTIONS = {"i0": _bessel(0, False), "i1": _bessel(1, False), "i0e": _bessel(0, True), "i1e": _bessel(1, True)}
