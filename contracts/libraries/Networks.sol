// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice A network without its weights, as the model's root binds it (docs/bytes.md, "arch").
struct Architecture {
    /// rows, columns and channels of a sample
    uint16 height;
    uint16 width;
    uint16 channels;
    uint16 classes;
    /// per convolution the ten hyperparameters in the order of docs/interfaces.md
    uint16[10][] layers;
    /// 0: the sum over all positions; 1: flatten
    uint8 pool;
    /// units of the hidden dense layer; 0 for none
    uint16 hidden;
    uint8 hiddenIntBits;
    uint8 hiddenFracBits;
    /// the hardware witness: (Tn, Tm) per layer, and how many layers each group has
    uint16[2][] tiles;
    uint8[] groups;
}

/// @notice Rows × columns × channels of one sample's tensor.
struct TensorShape {
    uint256 height;
    uint256 width;
    uint256 channels;
    /// of one value in a trace: pixels 1, activations 2, sums 4
    uint256 valueBytes;
}

/// @notice What makes a tensor from the one before it.
enum Operation {
    /// a convolution, or a dense layer as a kernel that covers what it reads
    Linear,
    MaxPool,
    Sum
}

/// @notice One tensor of a sample's trace, or the logits: what it is, and which window of the tensor before it one
/// position reads.
struct Step {
    Operation operation;
    /// the layer's number in the hashes of units; linear steps only
    uint256 layer;
    TensorShape output;
    uint256 windowHeight;
    uint256 windowWidth;
    uint256 strideHeight;
    uint256 strideWidth;
    /// rows and columns of the first window that lie before the tensor
    uint256 paddingTop;
    uint256 paddingLeft;
    /// rule 3 of docs/evaluation.md: by how many bits an accumulator is shifted right (left where negative)
    int256 shift;
    /// largest value; 0 where there are no bits
    uint256 max;
    /// false for logits, which are the accumulators themselves
    bool requantised;
}

/// @title What an architecture makes of every tensor
/// @notice Shapes and windows of docs/evaluation.md, "Layers", and the order of docs/protocol.md, "Trace of a sample".
library Networks {
    bytes32 internal constant ARCH = keccak256("ponas.v1.arch");

    // ————— The ten hyperparameters —————

    uint256 private constant KERNEL_HEIGHT = 0;
    uint256 private constant KERNEL_WIDTH = 1;
    uint256 private constant FILTERS = 2;
    uint256 private constant STRIDE_HEIGHT = 3;
    uint256 private constant STRIDE_WIDTH = 4;
    uint256 private constant POOL_SIZE = 5;
    uint256 private constant ACT_INT_BITS = 6;
    uint256 private constant ACT_FRAC_BITS = 7;
    uint256 private constant WEIGHT_INT_BITS = 8;
    uint256 private constant WEIGHT_FRAC_BITS = 9;

    uint256 private constant MAX_ACTIVATION_BITS = 15;
    uint256 private constant MAX_WEIGHT_BITS = 16;
    uint256 private constant MAX_SIDE = 64;
    uint256 private constant MAX_CHANNELS = 255;
    uint256 private constant MAX_CLASSES = 256;
    uint256 private constant MAX_LAYERS = 64;

    uint8 private constant FLATTEN = 1;
    /// Fraction bits of a pixel: a byte b stands for b/256.
    int256 private constant PIXEL_FRACTION_BITS = 8;
    /// Of a dense layer's weights.
    int256 private constant DENSE_FRACTION_BITS = 7;

    /// @notice Hash of an architecture: H(T"arch", its members in their order).
    /// @dev A struct's encoding is a pointer of one word and then its members', whose own pointers count from the first
    /// of them. With the tag in place of the first pointer they count from one word earlier.
    function hash(Architecture calldata a) internal pure returns (bytes32 result) {
        bytes memory encoded = abi.encode(a);
        bytes32 tag = ARCH;
        // The members' pointers are those of `layers`, `tiles` and `groups`: words 5, 10 and 11 of what is encoded.
        assembly ("memory-safe") {
            let body := add(encoded, 32)
            mstore(body, tag)
            let at := add(body, 160)
            mstore(at, add(mload(at), 32))
            at := add(body, 320)
            mstore(at, add(mload(at), 32))
            at := add(body, 352)
            mstore(at, add(mload(at), 32))
            result := keccak256(body, mload(encoded))
        }
    }

    /// @notice Whether every size and number of bits is in its range (docs/evaluation.md, "Numbers"). Outside of them
    /// {steps} may revert, or give what no evaluator would.
    function isInRange(Architecture calldata a) internal pure returns (bool) {
        if (_isNot(a.height, MAX_SIDE) || _isNot(a.width, MAX_SIDE) || _isNot(a.channels, MAX_CHANNELS)) return false;
        if (_isNot(a.classes, MAX_CLASSES) || _isNot(a.layers.length, MAX_LAYERS)) return false;
        if (a.pool > FLATTEN) return false;
        uint256 hiddenBits = uint256(a.hiddenIntBits) + a.hiddenFracBits;
        // Without a hidden layer it has no bits either: so every network has one hash.
        if (hiddenBits > (a.hidden == 0 ? 0 : MAX_ACTIVATION_BITS)) return false;
        for (uint256 i = 0; i < a.layers.length; ++i) {
            uint16[10] calldata layer = a.layers[i];
            for (uint256 j = KERNEL_HEIGHT; j <= POOL_SIZE; ++j) {
                if (layer[j] == 0) return false;
            }
            if (uint256(layer[ACT_INT_BITS]) + layer[ACT_FRAC_BITS] > MAX_ACTIVATION_BITS) return false;
            if (uint256(layer[WEIGHT_INT_BITS]) + layer[WEIGHT_FRAC_BITS] > MAX_WEIGHT_BITS) return false;
        }
        return true;
    }

    /// @notice Integer and fraction bits of a convolution's activations, and of its weights.
    function bitsOf(
        uint16[10] calldata layer
    ) internal pure returns (uint256 actInt, uint256 actFrac, uint256 weightInt, uint256 weightFrac) {
        return (layer[ACT_INT_BITS], layer[ACT_FRAC_BITS], layer[WEIGHT_INT_BITS], layer[WEIGHT_FRAC_BITS]);
    }

    function _isNot(uint256 size, uint256 largest) private pure returns (bool) {
        return size == 0 || size > largest;
    }

    /// @notice Shape of a sample's pixels, which the first step reads.
    function pixels(Architecture calldata a) internal pure returns (TensorShape memory) {
        return TensorShape(a.height, a.width, a.channels, 1);
    }

    /// @notice Every tensor of a trace in its order, and the logits as the last one. Step i reads what step i − 1 made.
    function steps(Architecture calldata a) internal pure returns (Step[] memory all) {
        uint256 layers = a.layers.length;
        // Each convolution may have a pool behind it; then two sums, a hidden layer, the logits.
        all = new Step[](2 * layers + 4);
        uint256 count = 0;
        TensorShape memory shape = pixels(a);
        int256 fractionBits = PIXEL_FRACTION_BITS;
        for (uint256 i = 0; i < layers; ++i) {
            uint16[10] calldata layer = a.layers[i];
            Step memory convolution = _convolution(shape, layer, i);
            convolution.shift =
                fractionBits +
                int256(uint256(layer[WEIGHT_FRAC_BITS])) -
                int256(uint256(layer[ACT_FRAC_BITS]));
            fractionBits = int256(uint256(layer[ACT_FRAC_BITS]));
            all[count++] = convolution;
            shape = convolution.output;
            if (layer[POOL_SIZE] > 1) {
                Step memory maxPool = _maxPool(shape, layer[POOL_SIZE]);
                all[count++] = maxPool;
                shape = maxPool.output;
            }
        }
        if (a.pool != FLATTEN) {
            // Rows first, then over the rows.
            Step memory rowSums = _sum(shape, 1, shape.width);
            all[count++] = rowSums;
            Step memory sums = _sum(rowSums.output, shape.height, 1);
            all[count++] = sums;
            shape = sums.output;
        }
        if (a.hidden > 0) {
            Step memory hidden = _dense(shape, a.hidden, layers);
            hidden.shift = fractionBits + DENSE_FRACTION_BITS - int256(uint256(a.hiddenFracBits));
            hidden.max = (1 << (uint256(a.hiddenIntBits) + a.hiddenFracBits)) - 1;
            hidden.requantised = true;
            hidden.output.valueBytes = 2;
            all[count++] = hidden;
            shape = hidden.output;
        }
        all[count] = _dense(shape, a.classes, layers + 1);
        ++count;
        assembly ("memory-safe") {
            mstore(all, count)
        }
    }

    function _convolution(
        TensorShape memory input,
        uint16[10] calldata layer,
        uint256 number
    ) private pure returns (Step memory step) {
        step.operation = Operation.Linear;
        step.layer = number;
        step.windowHeight = layer[KERNEL_HEIGHT];
        step.windowWidth = layer[KERNEL_WIDTH];
        step.strideHeight = layer[STRIDE_HEIGHT];
        step.strideWidth = layer[STRIDE_WIDTH];
        _slide(step, input);
        step.output.channels = layer[FILTERS];
        step.output.valueBytes = 2;
        step.max = (1 << (uint256(layer[ACT_INT_BITS]) + layer[ACT_FRAC_BITS])) - 1;
        step.requantised = true;
    }

    function _maxPool(TensorShape memory input, uint256 size) private pure returns (Step memory step) {
        step.operation = Operation.MaxPool;
        step.windowHeight = step.windowWidth = step.strideHeight = step.strideWidth = size;
        _slide(step, input);
        step.output.channels = input.channels;
        step.output.valueBytes = 2;
    }

    /// @dev One window covers all columns of a row, or all rows of a column.
    function _sum(TensorShape memory input, uint256 height, uint256 width) private pure returns (Step memory step) {
        step.operation = Operation.Sum;
        step.windowHeight = step.strideHeight = height;
        step.windowWidth = step.strideWidth = width;
        step.output = TensorShape(input.height / height, input.width / width, input.channels, 4);
    }

    /// @dev A kernel that covers the whole tensor.
    function _dense(TensorShape memory input, uint256 units, uint256 number) private pure returns (Step memory step) {
        step.operation = Operation.Linear;
        step.layer = number;
        step.windowHeight = step.strideHeight = input.height;
        step.windowWidth = step.strideWidth = input.width;
        step.output = TensorShape(1, 1, units, 4);
    }

    /// @dev "same" padding: out = ⌈in/stride⌉, pad = max(0, (out − 1)·stride + window − in), ⌊pad/2⌋ of it before.
    function _slide(Step memory step, TensorShape memory input) private pure {
        (step.output.height, step.paddingTop) = _same(input.height, step.windowHeight, step.strideHeight);
        (step.output.width, step.paddingLeft) = _same(input.width, step.windowWidth, step.strideWidth);
    }

    function _same(uint256 size, uint256 window, uint256 stride) private pure returns (uint256 out, uint256 before) {
        out = (size + stride - 1) / stride;
        uint256 reached = (out - 1) * stride + window;
        before = reached > size ? (reached - size) / 2 : 0;
    }
}
