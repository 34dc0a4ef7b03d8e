"""Networks that export once refused or computed otherwise, as `random_models` shows them."""

NETWORKS = (
    # A minimum of a sigmoid and of a reshaped tensor was cut off at the sigmoid's range.
    """
i0 = keras.Input(shape=(1, 4, 6), name='n0_i0')
x0 = L.Flatten(name='n0_0')(i0)
x1 = L.Dense(24, activation='sigmoid', name='n0_1')(x0)
x2 = L.Minimum(name='n0_2')([x1, x0])
model = keras.Model([i0], [x2])
""",
    # A relu6 behind a BatchNorm that is alone: the converter moved it past the Reshape between.
    """
i0 = keras.Input(shape=(11,), name='n1_i0')
x0 = L.Dense(8, name='n1_0')(i0)
x1 = L.ReLU(6.0, name='n1_1')(L.BatchNormalization(scale=False, name='n1_2')(x0))
x2 = L.Dense(3, name='n1_3')(x0)
model = keras.Model([i0], [x1, x2])
""",
    # Two readers of a BatchNorm, one of them a crop before a relu: the relu reached both.
    """
i0 = keras.Input(shape=(6, 6, 3), name='n2_i0')
x0 = L.BatchNormalization(name='n2_1')(L.Conv2D(4, 3, name='n2_0')(i0))
x1 = L.ReLU(name='n2_3')(L.Cropping2D(1, name='n2_2')(x0))
x2 = L.Conv2D(2, 1, name='n2_4')(x0)
model = keras.Model([i0], [x1, x2])
""",
    # Two readers of a Dense, one of them a relu: the converter computes the Dense twice.
    """
i0 = keras.Input(shape=(6,), name='n3_i0')
x0 = L.Dense(5, name='n3_0')(i0)
x1 = L.ReLU(name='n3_1')(x0)
x2 = L.ReLU(6.0, name='n3_2')(L.Reshape((5, 1), name='n3_3')(x0))
x3 = L.Add(name='n3_4')([L.Dense(5, name='n3_5')(x1), x0])
model = keras.Model([i0], [x2, x3])
""",
    # A PReLU with a slope for each step of a series.
    """
i0 = keras.Input(shape=(13, 2), name='n4_i0')
x0 = L.PReLU(name='n4_1')(L.Conv1D(2, 2, name='n4_0')(i0))
model = keras.Model([i0], [x0])
""",
    # A relu and two PReLUs on one tensor: the converter wrote no PRELU.
    """
i0 = keras.Input(shape=(3, 4, 2), name='n5_i0')
x0 = L.Conv2D(4, 2, name='n5_0')(i0)
x1 = L.PReLU(name='n5_1')(x0)
x2 = L.PReLU(shared_axes=[1, 2], name='n5_2')(x0)
x3 = L.ReLU(name='n5_3')(x0)
model = keras.Model([i0], [x1, x2, x3])
""",
    # A sum of two series: the converter moved their reshapes behind the sum.
    """
i0 = keras.Input(shape=(6, 4), name='n6_i0')
i1 = keras.Input(shape=(6, 4), name='n6_i1')
x0 = L.Conv1D(3, 2, name='n6_0')(i0 + i1)
i2 = keras.Input(shape=(6, 4), name='n6_i2')
x1 = L.Dense(3, name='n6_1')(i2 * i2)
i3 = keras.Input(shape=(6, 4), name='n6_i3')
x2 = i3 - i3
model = keras.Model([i0, i1, i2, i3], [x0, x1, x2])
""",
    # Outputs that are inputs, or that are listed twice.
    """
i0 = keras.Input(shape=(6, 4), name='n7_i0')
x0 = L.Dense(3, name='n7_0')(i0)
x1 = L.Dropout(0.5, name='n7_1')(x0)
x2 = L.Reshape((6, 4), name='n7_2')(L.Reshape((3, 8), name='n7_3')(i0))
x3 = keras.ops.relu(x0)
x4 = L.ReLU(name='n7_4')(x0)
model = keras.Model([i0], [x0, x0, x1, i0, x2, x3, x4])
""",
    # Equal layers on one tensor: the converter made one of two.
    """
i0 = keras.Input(shape=(6, 4), name='n8_i0')
x0 = L.Conv1D(3, 2, name='n8_0')(i0)
x1 = keras.ops.relu(L.Rescaling(2.0, name='n8_1')(x0))
x2 = L.Dense(3, name='n8_2')(-x0)
x3 = keras.ops.relu(-x0)
x4 = L.ELU(name='n8_3')(x0 * 2.0)
model = keras.Model([i0], [x1, x2, x3, x4])
""",
    # A bias equal in all channels of different scales: the converter took one scale for all.
    """
i0 = keras.Input(shape=(2, 6, 8), name='n9_i0')
x0 = L.ReLU(name='n9_1')(L.BatchNormalization(name='n9_2')(L.Conv2D(3, 2, name='n9_0')(i0)))
x1 = keras.ops.clip(x0, -0.5, 0.7)
x2 = L.Conv2D(4, 1, name='n9_3', bias_initializer='ones')(i0)
model = keras.Model([i0], [x1, x2])
""",
    # A mean and a maximum of one pixel, and pools of one pixel, which the converter leaves out.
    """
i0 = keras.Input(shape=(1, 4), name='n10_i0')
x0 = L.GlobalAveragePooling1D(keepdims=True, name='n10_0')(i0)
x1 = L.GlobalMaxPooling1D(name='n10_1')(i0)
i1 = keras.Input(shape=(3, 3, 4), name='n10_i1')
x2 = L.AveragePooling2D(1, name='n10_2')(i1)
x3 = L.Dense(3, name='n10_3')(L.MaxPooling2D(1, name='n10_4')(i1))
model = keras.Model([i0, i1], [x0, x1, x2, x3])
""",
    # A relu behind a Permute, and another in front: the converter made one of them.
    """
i0 = keras.Input(shape=(4, 3, 2), name='n11_i0')
x0 = L.Conv2D(3, 1, name='n11_0')(i0)
x1 = L.ReLU(name='n11_1')(x0)
x2 = L.ReLU(name='n11_3')(L.Permute((3, 2, 1), name='n11_2')(x0))
model = keras.Model([i0], [x1, x2])
""",
    # A padding and a crop of nothing: the converter leaves them out.
    """
i0 = keras.Input(shape=(4, 2), name='n12_i0')
x0 = L.Dense(3, name='n12_0')(i0)
x1 = L.ZeroPadding1D((0, 0), name='n12_1')(x0)
x2 = L.Cropping1D((0, 0), name='n12_2')(x0)
model = keras.Model([i0], [x0, x1, x2])
""",
    # A tanh that is joined with another scale, and read by a layer too: the layer read the values
    # that the converter had cut off at the other scale. Two joins were refused.
    """
i0 = keras.Input(shape=(6,), name='n13_i0')
x0 = L.Dense(5, name='n13_0')(i0)
x1 = L.Dense(5, activation='tanh', kernel_initializer='glorot_normal', name='n13_1')(x0)
x2 = L.Minimum(name='n13_2')([x1, 0.1 * x0, x1])
x3 = L.LeakyReLU(name='n13_3')(x1)
x4 = L.Concatenate(name='n13_4')([x1, 9.0 * x0])
model = keras.Model([i0], [x2, x3, x4, x1])
""",
    # Sums and products of BatchNorms that are alone: the converter moved their reshapes behind.
    """
i0 = keras.Input(shape=(6,), name='n14_i0')
x0 = L.BatchNormalization(name='n14_1')(L.Dense(4, activation='hard_sigmoid', name='n14_0')(i0))
x1 = L.BatchNormalization(name='n14_3')(L.Dense(4, activation='relu', name='n14_2')(i0))
x2 = L.BatchNormalization(name='n14_4')(i0)
x3 = x0**2
x4 = keras.ops.relu(x1 + L.BatchNormalization(name='n14_5')(x1))
x5 = x2 - x2[:, ::-1]
model = keras.Model([i0], [x3, x4, x5])
""",
    # Roots, logarithms, divisions, powers, limits by channel and repeats were refused.
    """
i0 = keras.Input(shape=(4, 3, 2), name='n15_i0')
x0 = L.Conv2D(4, 2, activation='relu', name='n15_0')(i0)
x1 = keras.ops.sqrt(x0)
x2 = keras.ops.log(x0 + 0.05)
x3 = L.Conv2D(3, 1, name='n15_1')(x1 / (0.5 + x0))
x4 = x3**3
x5 = keras.ops.maximum(x3, keras.ops.linspace(-0.5, 0.5, 3))
x6 = keras.ops.minimum(keras.ops.reshape(keras.ops.linspace(-0.5, 0.5, 6), (3, 2, 1)), x3)
x7 = keras.ops.tile(x3, (1, 2, 1, 3))
x8 = 1.0 / (1.0 + keras.ops.square(x3))
x9 = keras.ops.rsqrt(0.2 + keras.ops.mean(x0, (1, 2), keepdims=True))
x10 = keras.ops.expm1(x3) + keras.ops.tile(x9[..., :1], (1, 3, 2, 1))
model = keras.Model([i0], [x2, x4, x5, x6, x7, x8, x10])
""",
    # A shared layer on equal sums, whose operands change places: the converter merges the calls.
    """
i0 = keras.Input(shape=(5, 5, 3), name='n16_i0')
x0 = L.Conv2D(2, 1, name='n16_0')(i0)
x1 = L.Conv2D(2, 1, name='n16_1')(i0)
l2 = L.Conv2D(4, 3, name='n16_2')
x2 = l2(x0 + x1)
x3 = keras.ops.max(l2(x1 + x0), (1, 2))
x4 = l2(keras.ops.minimum(x0 * x1, x1)) + x2
x5 = 2.0 * l2(keras.ops.minimum(x1, x1 * x0))
model = keras.Model([i0], [x3, x4, x5])
""",
    # Equal factors on one tensor: the converter merged them with the reshapes in front.
    """
i0 = keras.Input(shape=(9,), name='n17_i0')
x0 = L.BatchNormalization(name='n17_1')(L.Dense(9, name='n17_0')(i0))
x1 = keras.ops.expm1(keras.ops.minimum(x0, 0.5))
x2 = 1.5 - x0
model = keras.Model([i0], [x1, x2])
""",
    # A product of a series that is reshaped once more: the converter moved both reshapes behind.
    """
i0 = keras.Input(shape=(6, 7), name='n18_i0')
x0 = L.Reshape(target_shape=(42,), name='n18_0')(i0)
x1 = keras.ops.square(x0)
x2 = L.Dense(units=2, activation='sigmoid', name='n18_1')(x1)
model = keras.Model([i0], [x2, x1])
""",
    # A sigmoid whose reshape is joined with another scale: another reader read coarse values.
    """
i0 = keras.Input(shape=(7, 1, 2), name='n19_i0')
x0 = L.SeparableConv2D(8, 4, padding='same', name='n19_0')(i0)
x1 = L.GlobalAveragePooling2D(name='n19_1')(x0)
x2 = L.Dense(8, use_bias=False, activation='sigmoid', name='n19_2')(x1)
x3 = L.Minimum(name='n19_3')([x0, x2])
x4 = L.Activation('mish', name='n19_4')(x2)
model = keras.Model([i0], [x3, x4])
""",
    # A power of a transposed convolution that only makes an image wider, and of one of a series:
    # the converter makes a reshape of each, and moved both operands' reshapes behind the product.
    """
i0 = keras.Input(shape=(2, 1, 8), name='n20_i0')
x0 = L.Conv2DTranspose(2, 2, padding='same', strides=(1, 2), name='n20_0')(i0)
x1 = x0**2
x2 = L.Add(name='n20_2')([L.Dense(2, activation='tanh', name='n20_1')(x1), x1])
x3 = L.Conv2DTranspose(2, 2, strides=(2, 1), name='n20_3')(i0)
x4 = L.Dense(3, name='n20_4')(keras.ops.square(x3))
x5 = L.Conv1DTranspose(3, 2, strides=2, name='n20_5')(L.Reshape((2, 8), name='n20_6')(i0))
x6 = L.Dense(2, name='n20_7')(x5 * x5)
model = keras.Model([i0], [x2, x4, x6])
""",
    # Sums of a series, read again beside the series: the converter moved the reshapes of both.
    """
i0 = keras.Input(shape=(2, 6), name='n21_i0')
x0 = i0 * i0
x1 = L.Dense(2, name='n21_0')(x0 + i0)
x2 = i0 + i0
x3 = L.Dense(2, name='n21_1')(x2 - i0)
x4 = keras.ops.tanh(x2)
x5 = L.Flatten(name='n21_2')(i0)
model = keras.Model([i0], [x1, x3, x4, x5])
""",
    # A relu behind a pool, or behind a mean over one axis, as an output: the converter fused it
    # into the pool and lost its range, so that all values were zero. A maximum of a transposed
    # convolution: the converter moved the maximum in front of a reshape, to five axes.
    """
i0 = keras.Input(shape=(4, 6, 5), name='n22_i0')
x0 = L.Conv2D(2, 1, name='n22_0')(i0)
x1 = L.ReLU(name='n22_1')(L.AveragePooling2D(2, name='n22_2')(x0))
x2 = keras.ops.relu(L.MaxPooling2D((1, 3), name='n22_3')(x0))
x3 = keras.ops.relu(keras.ops.mean(x0, 2, keepdims=True))
x4 = keras.ops.max(keras.ops.maximum(x3, x3), (1, 2))
x5 = L.Conv2DTranspose(3, 3, strides=2, padding='same', name='n22_4')(i0)
x6 = keras.ops.max(keras.ops.maximum(x5, x5), (1, 2))
x7 = L.Conv2DTranspose(3, 2, strides=2, padding='same', name='n22_5')(i0)
x8 = L.Conv2D(2, 1, name='n22_6')(keras.ops.minimum(x5, x7))
model = keras.Model([i0], [x1, x2, x3, x4, x6, x8])
""",
    # A relu behind a reshape, and a product: the converter moved both in front of the reshape.
    """
i0 = keras.Input(shape=(4, 6), name='n23_i0')
x0 = keras.ops.relu(i0)
x1 = x0**2
x2 = L.ReLU(6.0, name='n23_0')(i0)
x3 = x2 * x2
x4 = L.Conv1D(4, 1, name='n23_1')(i0)
x5 = L.ReLU(name='n23_2')(L.Flatten(name='n23_3')(x4))
x6 = x5 * x5
x7 = L.Dense(3, activation='sigmoid', name='n23_4')(x4)
model = keras.Model([i0], [x1, x3, x6, x7])
""",
)
