"""Fast CPU convolution gradients, around slow ones of torch.

Measured with torch 2.14 (oneDNN 3.12) on an AMD EPYC with AVX512-BF16; on other devices the layers are torch's own.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

# Up to so many image channels, the gradient of the first convolution is faster as one matrix product.
THIN = 4


class ThinConv2d(nn.Conv2d):
    """A convolution of images with fixed weights: its input gradient is a matrix product and shifted sums.

    oneDNN pads the few image channels of that gradient to full vectors, which takes 2 to 5 times as long.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Map images `[N, C, H, W]` to `[N, planes, H', W']`."""
        if input.device.type != "cpu":
            return super().forward(input)
        return thin_conv2d(input, self.weight, self.bias, cast("tuple[int, int]", self.padding))


class StridedDepthwiseConv2d(nn.Conv2d):
    """A strided depthwise convolution that also a CPU computes fast in a lower dtype.

    oneDNN has no kernel for the input gradient of these in bfloat16, and its reference code takes 20 to 100 times
    as long as float32. It is the same as a convolution of stride 1 over the gradient with zeros in between.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Map `[N, C, H, W]` to `[N, C', H', W']`."""
        device, weight, bias = input.device.type, self.weight, self.bias
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
            input, weight = input.to(dtype), weight.to(dtype)
            bias = None if bias is None else bias.to(dtype)
        if device != "cpu" or weight.dtype in (torch.float32, torch.float64):
            return super().forward(input)
        return cast(Tensor, _StridedDepthwise.apply(input, weight, bias, self.stride, self.padding))


def spare_slow_gradients(model: nn.Module, *, learns: bool) -> None:
    """Replace, in place, the convolutions whose gradients a CPU computes needlessly slowly.

    Values, parameters and state dict stay the same.

    Args:
        model: the model, on the device where it is used.
        learns: whether its weights need gradients too.
    """
    for module in model.modules():
        if type(module) is nn.Conv2d and module.weight.device.type == "cpu" and _ordinary(module):
            if module.groups == module.in_channels > 1 and max(module.stride) > 1:
                module.__class__ = StridedDepthwiseConv2d
            elif module.in_channels <= THIN and max(module.stride) == module.groups == 1 and not learns:
                module.__class__ = ThinConv2d


def _ordinary(conv: nn.Conv2d) -> bool:
    if conv.padding_mode != "zeros" or isinstance(conv.padding, str) or max(conv.dilation) > 1:
        return False
    return all(padding < size for padding, size in zip(conv.padding, conv.kernel_size, strict=True))


def thin_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
    """`ThinConv2d` as a function: stride 1, no groups, no gradient of weight and bias."""
    return cast(Tensor, _Thin.apply(x, weight, bias, padding))


class _Thin(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.padding, ctx.shape, ctx.dtype = padding, x.shape, x.dtype
        return F.conv2d(x, weight, bias, padding=padding)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (weight,), (gradient,) = ctx.saved_tensors, grads
        samples, planes, rows, columns = gradient.shape
        _, channels, tall, wide = weight.shape
        # One plane of the image for each tap of the kernel, all in one product; then each is added in its place.
        taps = weight.permute(2, 3, 1, 0).reshape(-1, planes).to(gradient.dtype)
        shares = taps @ gradient.permute(0, 2, 3, 1).reshape(-1, planes).t()
        shares = shares.view(tall, wide, channels, samples, rows, columns)
        shares = shares.to(torch.promote_types(gradient.dtype, torch.float32))
        total = shares.new_zeros(channels, samples, rows + tall - 1, columns + wide - 1)
        for row in range(tall):
            for column in range(wide):
                total[:, :, row : row + rows, column : column + columns] += shares[row, column]
        (above, left), (_, _, height, width) = ctx.padding, ctx.shape
        image = total[:, :, above : above + height, left : left + width]
        return image.transpose(0, 1).to(ctx.dtype), None, None, None


class _StridedDepthwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], padding: tuple[int, int]
    ) -> Tensor:
        # x itself only where the weights learn.
        ctx.save_for_backward(weight, x if ctx.needs_input_grad[1] else None)
        ctx.stride, ctx.padding, ctx.shape = stride, padding, x.shape
        return F.conv2d(x, weight, bias, stride, padding, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (weight, x), (gradient,) = ctx.saved_tensors, grads
        for_x = for_weight = for_bias = None
        if ctx.needs_input_grad[0]:
            for_x = _gradient_of_input(gradient, weight, ctx.stride, ctx.padding, ctx.shape)
        if ctx.needs_input_grad[1]:
            for_weight = conv2d_weight(x, weight.shape, gradient, ctx.stride, ctx.padding, groups=x.shape[1])
        if ctx.needs_input_grad[2]:
            for_bias = gradient.sum((0, 2, 3))
        return for_x, for_weight, for_bias, None, None


def _gradient_of_input(
    gradient: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int], shape: torch.Size
) -> Tensor:
    samples, channels, height, width = shape
    outputs, _, tall, wide = weight.shape
    (down, right), (above, left) = stride, padding
    # Channels stand last here, so that a pixel is one block of memory.
    spread = gradient.new_zeros(samples, height + 2 * above - tall + 1, width + 2 * left - wide + 1, outputs)
    spread[:, ::down, ::right] = gradient.permute(0, 2, 3, 1)
    flipped = weight.flip(2, 3).view(channels, -1, tall, wide)
    return F.conv2d(spread.permute(0, 3, 1, 2), flipped, padding=(tall - 1 - above, wide - 1 - left), groups=channels)
