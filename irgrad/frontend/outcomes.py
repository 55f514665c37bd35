"""What docs/coverage.md says of each function, for its documentation. Written by ``python -m tests.surface.table``."""

OUTCOMES = {  # VJP|JVP|runs -> functions, with the parameters that samples differentiate
    "-|-|Python": """
numpy.array2string numpy.array_repr numpy.array_str numpy.broadcast_shapes numpy.can_cast numpy.common_type numpy.einsum_path
numpy.iscomplexobj numpy.isfortran numpy.isrealobj numpy.isscalar numpy.iterable numpy.may_share_memory numpy.min_scalar_type numpy.ndim
numpy.result_type numpy.shape numpy.shares_memory numpy.size
""",
    "yes|yes|compiled": """
numpy.abs:x numpy.absolute:x numpy.acos:x numpy.acosh:x numpy.add:x1,x2 numpy.amax:a numpy.amin:a numpy.angle:z numpy.append:arr,values
numpy.apply_along_axis numpy.apply_over_axes:a numpy.arange:start_or_stop numpy.arccos:x numpy.arccosh:x numpy.arcsin:x numpy.arcsinh:x
numpy.arctan2:x1,x2 numpy.arctan:x numpy.arctanh:x numpy.array:object numpy.array_split:ary numpy.asarray:a numpy.asarray_chkfinite:a
numpy.asfortranarray:a numpy.asin:x numpy.asinh:x numpy.astype:x numpy.atan2:x1,x2 numpy.atan:x numpy.atanh:x numpy.atleast_1d
numpy.atleast_2d numpy.atleast_3d numpy.average:a,weights numpy.bartlett numpy.bincount:weights numpy.blackman numpy.block:arrays
numpy.broadcast_arrays numpy.broadcast_to:array numpy.c_ numpy.cbrt:x numpy.choose:choices numpy.clip:a numpy.column_stack:tup
numpy.concat:arrays numpy.concatenate:arrays numpy.conj:x numpy.conjugate:x numpy.convolve:a,v numpy.copy:a numpy.copysign:x1
numpy.copyto:src numpy.corrcoef:x numpy.correlate:a,v numpy.cos:x numpy.cosh:x numpy.cov:m,aweights numpy.cross:a,b numpy.cumprod:a
numpy.cumsum:a numpy.cumulative_prod:x numpy.cumulative_sum:x numpy.deg2rad:x numpy.degrees:x numpy.delete:arr numpy.diag:v
numpy.diag_indices numpy.diag_indices_from:arr numpy.diagflat:v numpy.diagonal:a numpy.diff:a numpy.divide:x1,x2 numpy.divmod:x1,x2
numpy.dot:a,b numpy.dsplit:ary numpy.dstack:tup numpy.ediff1d:ary numpy.einsum numpy.exp2:x numpy.exp:x numpy.expand_dims:a numpy.expm1:x
numpy.eye numpy.fabs:x numpy.fft.fft2:a numpy.fft.fft:a numpy.fft.fftfreq:d numpy.fft.fftn:a numpy.fft.fftshift:x numpy.fft.hfft:a
numpy.fft.ifft2:a numpy.fft.ifft:a numpy.fft.ifftn:a numpy.fft.ifftshift:x numpy.fft.ihfft:a numpy.fft.irfft2:a numpy.fft.irfft:a
numpy.fft.irfftn:a numpy.fft.rfft2:a numpy.fft.rfft:a numpy.fft.rfftfreq:d numpy.fft.rfftn:a numpy.fill_diagonal numpy.flip:m
numpy.fliplr:m numpy.flipud:m numpy.float_power:x1,x2 numpy.fmax:x1,x2 numpy.fmin:x1,x2 numpy.fmod:x1,x2 numpy.frombuffer
numpy.fromfunction:function numpy.fromiter numpy.frompyfunc numpy.full:fill_value numpy.full_like:fill_value numpy.geomspace:start,stop
numpy.gradient numpy.hamming numpy.hanning numpy.histogram2d:x,y numpy.histogram:a,weights numpy.histogram_bin_edges:a
numpy.histogramdd:sample numpy.hsplit:ary numpy.hstack:tup numpy.hypot:x1,x2 numpy.i0:x numpy.identity numpy.imag:val numpy.indices
numpy.inner:a,b numpy.insert:arr,values numpy.interp:x,xp,fp numpy.ix_ numpy.kaiser:beta numpy.kron:a,b numpy.ldexp:x1
numpy.linalg.cholesky numpy.linalg.cond:x numpy.linalg.cross:x1,x2 numpy.linalg.det:a numpy.linalg.diagonal:x numpy.linalg.eigh:a
numpy.linalg.eigvalsh:a numpy.linalg.inv:a numpy.linalg.matmul:x1,x2 numpy.linalg.matrix_norm:x numpy.linalg.matrix_power:a
numpy.linalg.matrix_transpose:x numpy.linalg.multi_dot:arrays numpy.linalg.norm:x numpy.linalg.outer:x1,x2 numpy.linalg.pinv:a
numpy.linalg.qr:a numpy.linalg.slogdet:a numpy.linalg.solve:a,b numpy.linalg.svd:a numpy.linalg.svdvals:x numpy.linalg.tensordot:x1,x2
numpy.linalg.tensorinv:a numpy.linalg.tensorsolve:a,b numpy.linalg.trace:x numpy.linalg.vecdot:x1,x2 numpy.linalg.vector_norm:x
numpy.linspace:start,stop numpy.log10:x numpy.log1p:x numpy.log2:x numpy.log:x numpy.logaddexp2:x1,x2 numpy.logaddexp:x1,x2
numpy.logspace:start,stop numpy.matmul:x1,x2 numpy.matrix_transpose:x numpy.matvec:x1,x2 numpy.max:a numpy.maximum:x1,x2 numpy.mean:a
numpy.meshgrid numpy.mgrid numpy.min:a numpy.minimum:x1,x2 numpy.mod:x1,x2 numpy.modf:x numpy.moveaxis:a numpy.multiply:x1,x2
numpy.nan_to_num:x numpy.nancumprod:a numpy.nancumsum:a numpy.nanmax:a numpy.nanmean:a numpy.nanmin:a numpy.nanprod:a numpy.nanstd:a
numpy.nansum:a numpy.nanvar:a numpy.negative:x numpy.nextafter:x1 numpy.ogrid numpy.ones numpy.ones_like numpy.outer:a,b numpy.pad:array
numpy.permute_dims:a numpy.poly:seq_of_zeros numpy.polyadd:a1,a2 numpy.polyder:p numpy.polydiv:u,v numpy.polyint:p numpy.polymul:a1,a2
numpy.polysub:a1,a2 numpy.polyval:p,x numpy.positive:x numpy.pow:x1,x2 numpy.power:x1,x2 numpy.prod:a numpy.ptp:a numpy.putmask:values
numpy.r_ numpy.rad2deg:x numpy.radians:x numpy.ravel:a numpy.real:val numpy.real_if_close:a numpy.reciprocal:x numpy.remainder:x1,x2
numpy.repeat:a numpy.reshape:a numpy.resize:a numpy.roll:a numpy.rollaxis:a numpy.rot90:m numpy.s_
numpy.select:condlist,choicelist,default numpy.sin:x numpy.sinc:x numpy.sinh:x numpy.split:ary numpy.sqrt:x numpy.square:x numpy.squeeze:a
numpy.stack:arrays numpy.std:a numpy.subtract:x1,x2 numpy.sum:a numpy.swapaxes:a numpy.take:a numpy.tan:x numpy.tanh:x numpy.tensordot:a,b
numpy.tile:A numpy.trace:a numpy.transpose:a numpy.trapezoid:y,x numpy.tri numpy.tril:m numpy.tril_indices numpy.tril_indices_from:arr
numpy.trim_zeros:filt numpy.triu:m numpy.triu_indices numpy.triu_indices_from:arr numpy.true_divide:x1,x2 numpy.unstack:x numpy.unwrap:p
numpy.vander:x numpy.var:a numpy.vdot:a,b numpy.vecdot:x1,x2 numpy.vecmat:x1,x2 numpy.vectorize numpy.vsplit:ary numpy.vstack:tup
numpy.where:condition,x,y numpy.zeros numpy.zeros_like scipy.integrate.cumulative_trapezoid:y,x scipy.integrate.simpson:y,x
scipy.integrate.trapezoid:y,x scipy.interpolate.RegularGridInterpolator:values scipy.interpolate.interp1d:x,y
scipy.interpolate.interpn:values,xi scipy.linalg.block_diag scipy.linalg.cho_factor scipy.linalg.cho_solve:c_and_lower,b
scipy.linalg.cholesky scipy.linalg.circulant:c scipy.linalg.det:a scipy.linalg.eigh scipy.linalg.eigvalsh scipy.linalg.hankel:c,r
scipy.linalg.inv:a scipy.linalg.lu:a scipy.linalg.lu_factor:a scipy.linalg.lu_solve:lu_and_piv,b scipy.linalg.norm:a scipy.linalg.pinv:a
scipy.linalg.pinvh scipy.linalg.qr:a scipy.linalg.solve:a,b scipy.linalg.solve_triangular:a,b scipy.linalg.svd:a scipy.linalg.svdvals:a
scipy.linalg.toeplitz:c,r scipy.signal.correlate:in1,in2 scipy.signal.fftconvolve:in1,in2 scipy.special.beta:x1,x2
scipy.special.betainc:x1,x2,x3 scipy.special.betaincc:x1,x2,x3 scipy.special.betainccinv:x1,x2,x3 scipy.special.betaincinv
scipy.special.betaln:x1,x2 scipy.special.binom:x1,x2 scipy.special.boxcox1p:x1,x2 scipy.special.boxcox:x1,x2 scipy.special.cbrt:x
scipy.special.chdtr:x1,x2 scipy.special.chdtrc:x1,x2 scipy.special.chdtri:x1,x2 scipy.special.comb:N,k scipy.special.cosm1:x
scipy.special.dawsn:x scipy.special.digamma:x scipy.special.ellipe:x scipy.special.ellipeinc:x1 scipy.special.ellipk:x
scipy.special.ellipkinc:x1 scipy.special.ellipkm1:x scipy.special.entr:x scipy.special.erf:x scipy.special.erfc:x scipy.special.erfcinv:x
scipy.special.erfcx:x scipy.special.erfi:x scipy.special.erfinv:x scipy.special.eval_chebyt:x2 scipy.special.eval_chebyu:x2
scipy.special.eval_gegenbauer:x3 scipy.special.eval_genlaguerre:x3 scipy.special.eval_hermite:x2 scipy.special.eval_hermitenorm:x2
scipy.special.eval_jacobi:x4 scipy.special.eval_laguerre:x2 scipy.special.eval_legendre:x2 scipy.special.exp10:x scipy.special.exp1:x
scipy.special.exp2:x scipy.special.expi:x scipy.special.expit:x scipy.special.expm1:x scipy.special.expn:x2 scipy.special.exprel:x
scipy.special.factorial:n scipy.special.fdtr:x1,x2,x3 scipy.special.fdtrc:x1,x2,x3 scipy.special.fdtri:x1,x2,x3 scipy.special.gamma:x
scipy.special.gammainc:x1,x2 scipy.special.gammaincc:x1,x2 scipy.special.gammainccinv:x1,x2 scipy.special.gammaincinv:x1,x2
scipy.special.gammaln:x scipy.special.gdtr:x1,x2,x3 scipy.special.gdtrc:x1,x2,x3 scipy.special.huber:x1,x2 scipy.special.hyp0f1:x2
scipy.special.hyp1f1:x3 scipy.special.hyp2f1:x4 scipy.special.hyperu:x3 scipy.special.i0:x scipy.special.i0e:x scipy.special.i1:x
scipy.special.i1e:x scipy.special.inv_boxcox1p:x1,x2 scipy.special.inv_boxcox:x1,x2 scipy.special.iv:x2 scipy.special.ive:x2
scipy.special.ivp:z scipy.special.j0:x scipy.special.j1:x scipy.special.jn:x2 scipy.special.jv:x2 scipy.special.jvp:z scipy.special.k0:x
scipy.special.k0e:x scipy.special.k1:x scipy.special.k1e:x scipy.special.kl_div:x1,x2 scipy.special.kn:x2 scipy.special.kv:x2
scipy.special.kve:x2 scipy.special.kvp:z scipy.special.log1p:x scipy.special.log_expit:x scipy.special.log_ndtr:x
scipy.special.log_softmax:x scipy.special.loggamma:x scipy.special.logit:x scipy.special.logsumexp:a scipy.special.modstruve:x2
scipy.special.multigammaln:a scipy.special.nbdtr:x3 scipy.special.nbdtrc:x3 scipy.special.ndtr:x scipy.special.ndtri:x
scipy.special.ndtri_exp:x scipy.special.owens_t:x1,x2 scipy.special.pdtr:x2 scipy.special.pdtrc:x2 scipy.special.perm:N,k
scipy.special.poch:x1,x2 scipy.special.polygamma:x scipy.special.powm1:x1,x2 scipy.special.pseudo_huber:x1,x2 scipy.special.psi:x
scipy.special.rel_entr:x1,x2 scipy.special.rgamma:x scipy.special.sinc:x scipy.special.softmax:x scipy.special.softplus:x
scipy.special.spence:x scipy.special.stdtr:x2 scipy.special.stdtrit:x2 scipy.special.struve:x2 scipy.special.wrightomega:x
scipy.special.xlog1py:x1,x2 scipy.special.xlogy:x1,x2 scipy.special.y0:x scipy.special.y1:x scipy.special.yn:x2 scipy.special.yv:x2
scipy.special.yvp:z scipy.special.zeta:q scipy.stats.bernoulli.cdf scipy.stats.bernoulli.logpmf scipy.stats.bernoulli.sf
scipy.stats.beta.cdf scipy.stats.beta.isf scipy.stats.beta.logpdf scipy.stats.beta.ppf scipy.stats.beta.sf scipy.stats.binom.cdf
scipy.stats.binom.logpmf scipy.stats.binom.sf scipy.stats.chi2.cdf scipy.stats.chi2.isf scipy.stats.chi2.logpdf scipy.stats.chi2.ppf
scipy.stats.chi2.sf scipy.stats.dirichlet.logpdf:alpha scipy.stats.expon.cdf scipy.stats.expon.isf scipy.stats.expon.logpdf
scipy.stats.expon.logsf scipy.stats.expon.ppf scipy.stats.expon.sf scipy.stats.gamma.cdf scipy.stats.gamma.isf scipy.stats.gamma.logpdf
scipy.stats.gamma.ppf scipy.stats.gamma.sf scipy.stats.laplace.cdf scipy.stats.laplace.isf scipy.stats.laplace.logcdf
scipy.stats.laplace.logpdf scipy.stats.laplace.logsf scipy.stats.laplace.ppf scipy.stats.laplace.sf scipy.stats.logistic.cdf
scipy.stats.logistic.isf scipy.stats.logistic.logcdf scipy.stats.logistic.logpdf scipy.stats.logistic.logsf scipy.stats.logistic.ppf
scipy.stats.logistic.sf scipy.stats.lognorm.cdf scipy.stats.lognorm.isf scipy.stats.lognorm.logcdf scipy.stats.lognorm.logpdf
scipy.stats.lognorm.logsf scipy.stats.lognorm.ppf scipy.stats.lognorm.sf scipy.stats.multivariate_normal.logpdf scipy.stats.nbinom.cdf
scipy.stats.nbinom.logpmf scipy.stats.nbinom.sf scipy.stats.norm.cdf scipy.stats.norm.isf scipy.stats.norm.logcdf scipy.stats.norm.logpdf
scipy.stats.norm.logsf scipy.stats.norm.ppf scipy.stats.norm.sf scipy.stats.poisson.cdf scipy.stats.poisson.logpmf scipy.stats.poisson.sf
scipy.stats.t.cdf scipy.stats.t.isf scipy.stats.t.logpdf scipy.stats.t.ppf scipy.stats.t.sf scipy.stats.uniform.cdf
scipy.stats.uniform.isf scipy.stats.uniform.ppf scipy.stats.uniform.sf
""",
    "yes|yes|host: argsort": """
numpy.put:v numpy.put_along_axis:values numpy.take_along_axis:arr,indices
""",
    "yes|yes|host: argsort, mask_indices": """
numpy.piecewise numpy.place:vals numpy.unique_all:x numpy.unique_inverse:x
""",
    "yes|yes|host: argsort, mask_indices, sort": """
numpy.intersect1d:ar1,ar2 numpy.setdiff1d:ar1,ar2 numpy.setxor1d:ar1,ar2 numpy.union1d:ar1,ar2 numpy.unique:ar numpy.unique_counts:x
numpy.unique_values:x
""",
    "yes|yes|host: argsort, sort": """
numpy.median:a numpy.nanmedian:a numpy.nanpercentile:a numpy.nanquantile:a numpy.partition:a numpy.percentile:a numpy.quantile:a,q
numpy.sort:a numpy.sort_complex:a
""",
    "yes|yes|host: bdtr": """
scipy.special.bdtr:x3
""",
    "yes|yes|host: bdtrc": """
scipy.special.bdtrc:x3
""",
    "yes|yes|host: cosh_integral, sinh_integral": """
scipy.special.shichi:x
""",
    "yes|yes|host: cosine_integral, sine_integral": """
scipy.special.sici:x
""",
    "yes|yes|host: eig": """
numpy.linalg.eig:a scipy.linalg.eig:a
""",
    "yes|yes|host: eig, eigvals": """
numpy.linalg.eigvals:a numpy.roots:p scipy.linalg.eigvals:a
""",
    "yes|yes|host: expm": """
scipy.linalg.coshm:A scipy.linalg.cosm:A scipy.linalg.expm:A scipy.linalg.expm_frechet:A,E scipy.linalg.sinhm:A scipy.linalg.sinm:A
scipy.linalg.tanhm:A scipy.linalg.tanm:A
""",
    "yes|yes|host: fresnel_cosine, fresnel_sine": """
scipy.special.fresnel:x
""",
    "yes|yes|host: frexp": """
numpy.frexp:x
""",
    "yes|yes|host: implicit_solution": """
scipy.optimize.brentq:f scipy.optimize.fsolve:func scipy.optimize.minimize:fun scipy.optimize.minimize_scalar:fun
scipy.optimize.newton:func scipy.optimize.root:fun scipy.optimize.root_scalar:f
""",
    "yes|yes|host: lambert": """
scipy.special.lambertw:z
""",
    "yes|yes|host: logm": """
scipy.linalg.logm
""",
    "yes|yes|host: lstsq": """
numpy.linalg.lstsq numpy.polyfit:x,y scipy.linalg.lstsq
""",
    "yes|yes|host: mask_indices": """
numpy.compress:a numpy.extract:condition,arr numpy.mask_indices
""",
    "yes|yes|host: ode_solution": """
scipy.integrate.odeint:y0,args scipy.integrate.solve_ivp:fun,y0
""",
    "yes|yes|host: solve_banded": """
scipy.linalg.solve_banded:ab,b
""",
    "yes|yes|host: solve_sylvester": """
scipy.linalg.solve_continuous_lyapunov:a,q scipy.linalg.solve_lyapunov:a,q scipy.linalg.solve_sylvester:a,b,q
""",
    "yes|yes|host: solve_sylvester, sqrtm": """
scipy.linalg.sqrtm
""",
    "yes|yes|nothing to compute": """
numpy.asanyarray:a numpy.ascontiguousarray:a numpy.require:a
""",
    "zero|zero|compiled": """
numpy.all numpy.allclose numpy.any numpy.argmax numpy.argmin numpy.around numpy.array_equal numpy.array_equiv numpy.bitwise_and
numpy.bitwise_invert numpy.bitwise_left_shift numpy.bitwise_not numpy.bitwise_or numpy.bitwise_right_shift numpy.bitwise_xor numpy.ceil
numpy.count_nonzero numpy.digitize numpy.empty numpy.empty_like numpy.equal numpy.fix numpy.floor numpy.floor_divide numpy.greater
numpy.greater_equal numpy.heaviside numpy.invert numpy.isclose numpy.iscomplex numpy.isfinite numpy.isin numpy.isinf numpy.isnan
numpy.isneginf numpy.isposinf numpy.isreal numpy.left_shift numpy.less numpy.less_equal numpy.linalg.matrix_rank numpy.logical_and
numpy.logical_not numpy.logical_or numpy.logical_xor numpy.nanargmax numpy.nanargmin numpy.not_equal numpy.ravel_multi_index
numpy.right_shift numpy.rint numpy.round numpy.searchsorted numpy.sign numpy.signbit numpy.trunc numpy.unravel_index
scipy.special.gammasgn scipy.stats.uniform.logpdf
""",
    "zero|zero|host: argpartition": """
numpy.argpartition
""",
    "zero|zero|host: argsort": """
numpy.argsort numpy.lexsort
""",
    "zero|zero|host: bitwise_count": """
numpy.bitwise_count
""",
    "zero|zero|host: gcd": """
numpy.gcd
""",
    "zero|zero|host: lcm": """
numpy.lcm
""",
    "zero|zero|host: mask_indices": """
numpy.argwhere numpy.flatnonzero numpy.nonzero
""",
    "zero|zero|host: packbits": """
numpy.packbits
""",
    "zero|zero|host: packbits, unpackbits": """
numpy.unpackbits
""",
    "zero|zero|host: spacing": """
numpy.spacing
""",
}
