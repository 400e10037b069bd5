/**
 * The two gradients of a convolution. TensorFlow and the JavaScript backend have kernels for them; WebAssembly lacks
 * the one and has the other slow, so there both are put together from convolutions.
 */
import type { Tensor4D } from "@tensorflow/tfjs-core";

import type { LayerShapes, Padding, TensorShape } from "../evaluation/shapes.ts";
import type { Layer } from "../protocol/architecture.ts";
import type { Tf } from "./tfjs-backend.ts";
import { interleave, inverse, places, reframe } from "./tfjs-images.ts";

/** What a convolution's gradients depend on. */
export interface ConvolutionGeometry {
  readonly kernel: readonly [number, number];
  readonly strides: readonly [number, number];
  readonly input: TensorShape;
  /** around the input, so that the windows cover exactly the frame; negative where they leave the last rows out */
  readonly frame: Padding;
}

export interface ConvolutionGradients {
  /** kh×kw×C×M of the framed input N×H'×W'×C and the gradient of the sums N×h×w×M */
  filters(framed: Tensor4D, sums: Tensor4D, geometry: ConvolutionGeometry): Tensor4D;
  /** N×H×W×C of the filters kh×kw×C×M and the gradient of the sums N×h×w×M */
  input(filters: Tensor4D, sums: Tensor4D, geometry: ConvolutionGeometry): Tensor4D;
}

export function convolutionGeometry(layer: Layer, { input, convolution, padding }: LayerShapes): ConvolutionGeometry {
  const { kernelHeight, kernelWidth, strideHeight, strideWidth } = layer;
  const { top, left } = padding;
  return {
    kernel: [kernelHeight, kernelWidth],
    strides: [strideHeight, strideWidth],
    input,
    frame: {
      top,
      bottom: (convolution.height - 1) * strideHeight + kernelHeight - input.height - top,
      left,
      right: (convolution.width - 1) * strideWidth + kernelWidth - input.width - left,
    },
  };
}

/** The backend's own kernels where it has both. */
export function convolutionGradients(tf: Tf): ConvolutionGradients {
  const backend = tf.getBackend();
  return tf.getKernel(tf.Conv2DBackpropFilter, backend) === undefined ? composed(tf) : native(tf);
}

function native(tf: Tf): ConvolutionGradients {
  const attributes = { pad: "valid", dataFormat: "NHWC" };
  return {
    filters: (framed, sums, { kernel, strides }) =>
      tf
        .engine()
        .runKernel(
          tf.Conv2DBackpropFilter,
          { x: framed, dy: sums },
          { ...attributes, strides: [...strides], filterShape: [...kernel, framed.shape[3], sums.shape[3]] },
        ),
    input: (filters, sums, { strides, input, frame }) => {
      const { height, width, channels } = input;
      const { top, bottom, left, right } = frame;
      const framed: Tensor4D = tf.engine().runKernel(
        tf.Conv2DBackpropInput,
        { dy: sums, filter: filters },
        {
          ...attributes,
          strides: [...strides],
          inputShape: [sums.shape[0], height + top + bottom, width + left + right, channels],
        },
      );
      return reframe(tf, framed, inverse(frame));
    },
  };
}

function composed(tf: Tf): ConvolutionGradients {
  return {
    // The sum over samples and places is a convolution too, whose samples are the channels, whose channels are the
    // samples, and whose kernel is the gradient, dilated by the strides.
    filters: (framed, sums, { strides }) =>
      tf.transpose(
        tf.conv2d(tf.transpose(framed, [3, 1, 2, 0]), tf.transpose(sums, [1, 2, 0, 3]), 1, "valid", "NHWC", [
          ...strides,
        ]),
        [1, 2, 0, 3],
      ),
    input: (filters, sums, { kernel, strides, input, frame }) => {
      const [batch, height, width] = sums.shape;
      const turned = tf.transpose(tf.reverse(filters, [0, 1]), [0, 1, 3, 2]);
      const parts = places(...strides).map(([row, column]): Tensor4D => {
        const down = readers(row, kernel[0], strides[0], frame.top);
        const across = readers(column, kernel[1], strides[1], frame.left);
        const nobody = [down.taps, across.taps, height + down.before, width + across.before].some((n) => n <= 0);
        if (nobody) return tf.zeros([batch, height, width, input.channels]);
        const border = { top: down.before, bottom: down.after, left: across.before, right: across.after };
        const taps =
          strides[0] * strides[1] === 1
            ? turned
            : tf.stridedSlice(turned, [down.first, across.first, 0, 0], turned.shape, [...strides, 1, 1]);
        return tf.conv2d(reframe(tf, sums, border), taps as Tensor4D, 1, "valid");
      });
      const whole = interleave(tf, parts, ...strides);
      return reframe(tf, whole, {
        top: 0,
        bottom: input.height - height * strides[0],
        left: 0,
        right: input.width - width * strides[1],
      });
    },
  };
}

/**
 * Along one axis: which outputs read the input places `phase`, `phase` + stride, … The place u·stride + phase is read
 * by outputs u + lag − t through kernel places rest + t·stride, t = 0 … taps − 1. So its gradient is a convolution of
 * the outputs' gradients, `before` and `after` places longer, with every stride-th place of the turned kernel from
 * `first` on.
 */
function readers(phase: number, kernel: number, stride: number, padding: number) {
  const lag = Math.floor((phase + padding) / stride);
  const rest = (phase + padding) % stride;
  const taps = Math.max(0, Math.ceil((kernel - rest) / stride));
  return { taps, before: taps - 1 - lag, after: lag, first: kernel - 1 - rest - (taps - 1) * stride };
}
