"""Complex numbers inside of a model agree with PyTorch's."""

from __future__ import annotations

from kernelevolve.synthesis.builtin.tracing import Untraced, trace_task

from .conftest import Check, task_of


def test_rotary_embeddings(check: Check) -> None:
    f = "torch.outer(torch.arange(32.0), 100.0 ** -torch.arange(0, 1, 0.125))"
    init = f"f = {f}; self.register_buffer('f', torch.polar(torch.ones_like(f), f))"
    forward = """q, p = x; z = torch.view_as_complex(q.reshape(*q.shape[:-1], -1, 2)); n = q.shape[1]
        turned = (torch.view_as_real(z * w[:, None]).flatten(3) for w in (self.f[:n], self.f[p]))
        return tuple(turned)"""
    shapes = "[torch.randn({0}, {1}, 4, 16), torch.randint(0, 32, ({1},))]"
    check(task_of(forward, shapes.format(2, 10), init, f"{{'a': {shapes.format(1, 7)}}}"))


def test_arithmetic(check: Check) -> None:
    forward = """a, b, c = x; z, w = torch.complex(a, b), torch.polar(b.abs() + 0.5, a); real = torch.view_as_real
        y = torch.cat([z.t() * 2, w.t() + c.t()])[2:7].roll(1, 0)
        return (z.abs(), w.angle(), z.real * 2 - w.imag, real(z * w.conj() + 1.5), real(z / w - z), real(2 / w), real(c * z), real(w / 3),
            real((1 - 2j) * z), real(torch.exp(z)), real(y.sum(1)), real(z.mean(0)), real(z @ w.t()), real(-z.reshape(2, -1)[0]),
            z.real.sum(), real(torch.stack([z, w])[:, [1, 0]]), real(z.to(torch.complex128).cumsum(1)), (z * z.conj()).real)"""
    inputs = "[torch.randn(4, 6), torch.randn(4, 6), torch.randn(4, 6)]"
    check(task_of(forward, inputs, variants="{'a': [torch.randn(6, 8), torch.randn(6, 8), torch.randn(6, 8)]}"))


def test_what_is_not_known_of_complex_numbers_is_named() -> None:
    found = trace_task(task_of("return torch.fft.rfft(x[0]).abs()", "[torch.randn(4, 8)]"))
    assert isinstance(found, Untraced)
    assert found.why == "the traced form lacks the operation aten._fft_r2c.default of complex numbers"
