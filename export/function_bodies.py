"""The bodies in ONNX's textual syntax; a line that starts with "#" is a comment of ours.

Each computes what its kernel does, in the kernel's order of operations, so that results are the
same bits wherever the arithmetic allows it. Operators are written as opset 16 and all later ones
have them.
"""

ROI_ALIGN = """
RoiAlign <
  output_height: int = 1, output_width: int = 1, sampling_ratio: int = 0,
  spatial_scale: float = 1.0, coordinate_transformation_mode: string = "half_pixel"
> (X, boxes, batch_indices) => (Y) {
  # Runtimes know the operator for one type of map and boxes only.
  features = Cast <to = 1> (X)
  pooled = RoiAlign <
    mode = "avg", output_height: int = @output_height, output_width: int = @output_width,
    sampling_ratio: int = @sampling_ratio, spatial_scale: float = @spatial_scale,
    coordinate_transformation_mode: string = @coordinate_transformation_mode
  > (features, boxes, batch_indices)
  Y = CastLike (pooled, X)
}
"""

POSITIONAL_MAPS = """
PositionalMaps <height: int = 7, width: int = 7> (boxes, reference) => (maps) {
  # Both axes at once: columns x1, y1 and x2, y2 of [R, 4] -> [R, 2].
  axis = Constant <value = int64[1] {1}> ()
  begin = Constant <value = int64[1] {0}> ()
  middle = Constant <value = int64[1] {2}> ()
  end = Constant <value = int64[1] {4}> ()
  low = Slice (boxes, begin, middle, axis)
  high = Slice (boxes, middle, end, axis)
  reference_low = Slice (reference, begin, middle, axis)
  reference_high = Slice (reference, middle, end, axis)

  zero = Constant <value = float {0.0}> ()
  half = Constant <value = float {0.5}> ()
  one = Constant <value = float {1.0}> ()
  two = Constant <value = float {2.0}> ()
  smallest = Constant <value = float {0.000001}> ()
  infinity = Div (one, zero)
  extent = Sub (reference_high, reference_low)
  from_reference = Sub (low, reference_low)
  twice_from_reference = Mul (two, from_reference)
  shifted = Div (twice_from_reference, extent)
  alpha = Sub (shifted, one)
  size = Sub (high, low)
  twice_size = Mul (two, size)
  beta = Div (twice_size, extent)

  # A comparison with NaN is false, so one with infinity finds all that is not finite.
  large_enough = GreaterOrEqual (extent, smallest)
  extent_finite = Less (extent, infinity)
  alpha_magnitude = Abs (alpha)
  alpha_finite = Less (alpha_magnitude, infinity)
  beta_magnitude = Abs (beta)
  beta_finite = Less (beta_magnitude, infinity)
  extent_valid = And (large_enough, extent_finite)
  position_valid = And (alpha_finite, beta_finite)
  valid = And (extent_valid, position_valid)
  valid_alpha = Where (valid, alpha, zero)
  valid_beta = Where (valid, beta, zero)

  # Bin centres in [0, 1]: x in channel 0, y in channel 1 of [2, height, width].
  first = Constant <value = int64 {0}> ()
  step = Constant <value = int64 {1}> ()
  num_rows = Constant <value_int: int = @height> ()
  num_columns = Constant <value_int: int = @width> ()
  columns = Range (first, num_columns, step)
  columns_float = Cast <to = 1> (columns)
  column_centres = Add (columns_float, half)
  width_float = Cast <to = 1> (num_columns)
  t_x = Div (column_centres, width_float)
  rows = Range (first, num_rows, step)
  rows_float = Cast <to = 1> (rows)
  row_centres = Add (rows_float, half)
  height_float = Cast <to = 1> (num_rows)
  t_y = Div (row_centres, height_float)
  as_row = Constant <value = int64[3] {1, 1, -1}> ()
  as_column = Constant <value = int64[3] {1, -1, 1}> ()
  t_x_row = Reshape (t_x, as_row)
  t_y_column = Reshape (t_y, as_column)
  one_channel = Constant <value = int64[1] {1}> ()
  row_count = Reshape (num_rows, one_channel)
  column_count = Reshape (num_columns, one_channel)
  grid_shape = Concat <axis = 0> (one_channel, row_count, column_count)
  grid_x = Expand (t_x_row, grid_shape)
  grid_y = Expand (t_y_column, grid_shape)
  grid = Concat <axis = 0> (grid_x, grid_y)

  last_axes = Constant <value = int64[2] {2, 3}> ()
  alpha_4d = Unsqueeze (valid_alpha, last_axes)
  beta_4d = Unsqueeze (valid_beta, last_axes)
  along = Mul (beta_4d, grid)
  maps = Add (alpha_4d, along)
}
"""

WELDON_POOL = """
WeldonPool <k_max: int = 16, k_min: int = 16, alpha: float = 1.0> (X) => (Y) {
  features = Cast <to = 1> (X)
  num_images = Shape <start = 0, end = 1> (features)
  num_channels = Shape <start = 1, end = 2> (features)
  map_height = Shape <start = 2, end = 3> (features)
  map_width = Shape <start = 3, end = 4> (features)
  num_maps = Mul (num_images, num_channels)
  size = Mul (map_height, map_width)
  flat_shape = Concat <axis = 0> (num_maps, size)
  maps = Reshape <allowzero = 1> (features, flat_shape)
  # Where there is no map, one of zeros: TopK of ONNX Runtime 1.20 divides by their number.
  none = Constant <value = int64[1] {0}> ()
  at_least = Constant <value = int64[1] {1}> ()
  num_missing = Sub (at_least, num_maps)
  num_added = Max (num_missing, none)
  pads = Concat <axis = 0> (none, none, num_added, none)
  values = Pad (maps, pads)
  axis = Constant <value = int64[1] {1}> ()
  zero = Constant <value = float {0.0}> ()

  most_highest = Constant <value_int: int = @k_max> ()
  num_highest = Min (most_highest, size)
  highest, highest_positions = TopK <axis = 1, largest = 1, sorted = 0> (values, num_highest)
  highest_sum = ReduceSum <keepdims = 0> (highest, axis)
  highest_count = Cast <to = 1> (num_highest)
  highest_mean = Div (highest_sum, highest_count)

  most_lowest = Constant <value_int: int = @k_min> ()
  num_lowest = Min (most_lowest, size)
  lowest, lowest_positions = TopK <axis = 1, largest = 0, sorted = 0> (values, num_lowest)
  lowest_sum = ReduceSum <keepdims = 0> (lowest, axis)
  lowest_count = Cast <to = 1> (num_lowest)
  one = Constant <value = float {1.0}> ()
  lowest_divisor = Max (lowest_count, one)
  lowest_mean = Div (lowest_sum, lowest_divisor)
  weight = Constant <value_float: float = @alpha> ()
  weighted = Mul (weight, lowest_mean)
  # Without weight the lowest values do not count, even where they are infinite.
  weightless = Equal (weight, zero)
  lowest_term = Where (weightless, zero, weighted)
  pooled = Add (highest_mean, lowest_term)

  # What TopK does with NaN is not defined; a NaN makes its own map NaN.
  is_nan = IsNaN (values)
  nan_marks = Cast <to = 1> (is_nan)
  num_nans = ReduceSum <keepdims = 0> (nan_marks, axis)
  has_nan = Greater (num_nans, zero)
  not_a_number = Div (zero, zero)
  results = Where (has_nan, not_a_number, pooled)
  kept = Slice (results, none, num_maps)
  output_shape = Concat <axis = 0> (num_images, num_channels)
  result = Reshape <allowzero = 1> (kept, output_shape)
  Y = CastLike (result, X)
}
"""

WINOGRAD_CONV = """
WinogradConv (X, W, B, input_transform, kernel_transform, output_transform) => (Y) {
  copied = Constant <value = int64[1] {0}> ()
  rest = Constant <value = int64[1] {-1}> ()
  filters = Shape <start = 0, end = 1> (W)
  channels = Shape <start = 1, end = 2> (W)
  size = Shape <start = 2, end = 4> (X)
  num_points = Shape <start = 0, end = 1> (kernel_transform)
  # Sizes are told, not left to Reshape, which can't tell them where there are no maps.
  num_pixels = Shape <start = 1, end = 2> (input_transform)
  num_rows = Shape <start = 0, end = 1> (input_transform)
  num_tiles = Div (num_rows, num_points)

  # Kernels at the points: [K, C, 3, 3] -> [points, C, K]. All of constants, so computed at loading.
  flat_kernel_shape = Concat <axis = 0> (filters, channels, rest)
  flat_kernels = Reshape (W, flat_kernel_shape)
  kernels_last = Transpose <perm = [2, 1, 0]> (flat_kernels)
  taps_shape = Concat <axis = 0> (copied, rest)
  taps = Reshape (kernels_last, taps_shape)
  kernels_flat = MatMul (kernel_transform, taps)
  kernels_shape = Concat <axis = 0> (num_points, channels, filters)
  kernels = Reshape (kernels_flat, kernels_shape)

  # Maps at the points: [N, C, H, W] -> [points, N * tiles, C].
  channels_last = Transpose <perm = [0, 2, 3, 1]> (X)
  pixels_shape = Concat <axis = 0> (copied, num_pixels, channels)
  pixels = Reshape (channels_last, pixels_shape)
  transformed = MatMul (input_transform, pixels)
  by_map_shape = Concat <axis = 0> (copied, num_points, num_tiles, channels)
  by_map = Reshape (transformed, by_map_shape)
  by_point = Transpose <perm = [1, 0, 2, 3]> (by_map)
  tiles_shape = Concat <axis = 0> (num_points, rest, channels)
  tiles = Reshape (by_point, tiles_shape)

  products = MatMul (tiles, kernels)

  # And back: [points, N * tiles, K] -> [N, K, H, W].
  num_maps = Shape <start = 0, end = 1> (X)
  products_shape = Concat <axis = 0> (num_points, num_maps, num_tiles, filters)
  products_by_point = Reshape (products, products_shape)
  products_by_map = Transpose <perm = [1, 0, 2, 3]> (products_by_point)
  product_rows_shape = Concat <axis = 0> (copied, num_rows, filters)
  product_rows = Reshape (products_by_map, product_rows_shape)
  results = MatMul (output_transform, product_rows)
  biased = Add (results, B)
  maps_shape = Concat <axis = 0> (copied, size, filters)
  maps = Reshape (biased, maps_shape)
  Y = Transpose <perm = [0, 3, 1, 2]> (maps)
}
"""

# Two neighbours and a weight for each row or column of the resized picture.
_TAPS = """
  AXIS_index = Constant <value = int64 {INDEX}> ()
  AXIS_extent = Gather (source_size, AXIS_index)
  AXIS_inner = Gather (inner_size, AXIS_index)
  AXIS_extent_double = Cast <to = 11> (AXIS_extent)
  AXIS_inner_double = Cast <to = 11> (AXIS_inner)
  AXIS_scale = Div (AXIS_extent_double, AXIS_inner_double)
  AXIS_targets = Range (zero, AXIS_inner, one)
  AXIS_targets_double = Cast <to = 11> (AXIS_targets)
  AXIS_centres = Add (AXIS_targets_double, half_double)
  AXIS_source_centres = Mul (AXIS_centres, AXIS_scale)
  AXIS_unclamped = Sub (AXIS_source_centres, half_double)
  AXIS_positions = Max (AXIS_unclamped, zero_double)
  AXIS_truncated = Cast <to = 7> (AXIS_positions)
  AXIS_last = Sub (AXIS_extent, one)
  AXIS_low = Min (AXIS_truncated, AXIS_last)
  AXIS_next = Add (AXIS_low, one)
  AXIS_high = Min (AXIS_next, AXIS_last)
  AXIS_low_double = Cast <to = 11> (AXIS_low)
  AXIS_beyond_low = Sub (AXIS_positions, AXIS_low_double)
  AXIS_weight = Cast <to = 1> (AXIS_beyond_low)
  AXIS_has_next = Less (AXIS_low, AXIS_last)
  AXIS_weights = Where (AXIS_has_next, AXIS_weight, zero_float)
"""


def _taps(axis: str, index: int) -> str:
    return _TAPS.replace("AXIS", axis).replace("INDEX", str(index)).strip()


def _is(attribute: str, no: str, yes: str) -> str:
    """Statements for a boolean `is_<yes>`; Equal compares strings from opset 19 only."""
    return f"""
  {attribute}_text = Constant <value_string: string = @{attribute}> ()
  {attribute}_number = ai.onnx.ml.LabelEncoder <
    keys_strings = ["{no}", "{yes}"], values_int64s = [0, 1]
  > ({attribute}_text)
  is_{yes} = Cast <to = 9> ({attribute}_number)
""".strip()


LETTERBOX = f"""
Letterbox <
  height: int = 640, width: int = 640, mode: string = "pad", align: string = "center",
  layout: string = "chw", rounding: string = "nearest", mean: floats = [0.0, 0.0, 0.0],
  std: floats = [1.0, 1.0, 1.0], pad_value: float = 114.0, swap_channels: int = 0
> (image) => (network_image) {{
  {_is("mode", "pad", "stretch")}
  {_is("align", "center", "top_left")}
  {_is("layout", "chw", "hwc")}
  {_is("rounding", "nearest", "floor")}
  zero = Constant <value = int64 {{0}}> ()
  one = Constant <value = int64 {{1}}> ()
  two = Constant <value = int64 {{2}}> ()
  zero_1d = Constant <value = int64[1] {{0}}> ()
  zero_float = Constant <value = float {{0.0}}> ()
  zero_double = Constant <value = double {{0.0}}> ()
  half_double = Constant <value = double {{0.5}}> ()
  one_double = Constant <value = double {{1.0}}> ()

  # [height, width] of the source, of the output and of the picture in it, in exact integers.
  source_size = Shape <start = 0, end = 2> (image)
  num_rows = Constant <value_int: int = @height> ()
  num_columns = Constant <value_int: int = @width> ()
  row_count = Unsqueeze (num_rows, zero_1d)
  column_count = Unsqueeze (num_columns, zero_1d)
  size = Concat <axis = 0> (row_count, column_count)
  other_axis = Constant <value = int64[2] {{1, 0}}> ()
  other_size = Gather (size, other_axis)
  divisor = Gather (source_size, other_axis)
  dividend = Mul (source_size, other_size)
  floored = Div (dividend, divisor)
  twice_dividend = Mul (two, dividend)
  rounding_dividend = Add (twice_dividend, divisor)
  twice_divisor = Mul (two, divisor)
  nearest = Div (rounding_dividend, twice_divisor)
  scaled_size = Where (is_floor, floored, nearest)
  # One axis fits by its own scale; the other one's exceeds the size, and is the whole of it.
  fitting_size = Min (scaled_size, size)
  padded_inner_size = Max (fitting_size, one)
  inner_size = Where (is_stretch, size, padded_inner_size)
  padding = Sub (size, inner_size)
  half_padding = Div (padding, two)
  before = Where (is_top_left, zero, half_padding)
  after = Sub (padding, before)
  pads = Concat <axis = 0> (before, zero_1d, after, zero_1d)

  {_taps("row", 0)}
  {_taps("column", 1)}

  low_row_bytes = Gather <axis = 0> (image, row_low)
  high_row_bytes = Gather <axis = 0> (image, row_high)
  low_rows = Cast <to = 1> (low_row_bytes)
  high_rows = Cast <to = 1> (high_row_bytes)
  row_weight_shape = Constant <value = int64[3] {{-1, 1, 1}}> ()
  row_weights_3d = Reshape (row_weights, row_weight_shape)
  row_difference = Sub (high_rows, low_rows)
  row_step = Mul (row_difference, row_weights_3d)
  rows = Add (low_rows, row_step)
  low_columns = Gather <axis = 1> (rows, column_low)
  high_columns = Gather <axis = 1> (rows, column_high)
  column_weight_shape = Constant <value = int64[2] {{-1, 1}}> ()
  column_weights_2d = Reshape (column_weights, column_weight_shape)
  column_difference = Sub (high_columns, low_columns)
  column_step = Mul (column_difference, column_weights_2d)
  picture = Add (low_columns, column_step)

  pad_color = Constant <value_float: float = @pad_value> ()
  padded = Pad (picture, pads, pad_color)
  swap_number = Constant <value_int: int = @swap_channels> ()
  swap = Cast <to = 9> (swap_number)
  given_order = Constant <value = int64[3] {{0, 1, 2}}> ()
  reversed_order = Constant <value = int64[3] {{2, 1, 0}}> ()
  order = Where (swap, reversed_order, given_order)
  ordered = Gather <axis = 2> (padded, order)
  mean_floats = Constant <value_floats: floats = @mean> ()
  std_floats = Constant <value_floats: floats = @std> ()
  std_doubles = Cast <to = 11> (std_floats)
  inverse_std_doubles = Div (one_double, std_doubles)
  inverse_std = Cast <to = 1> (inverse_std_doubles)
  centred = Sub (ordered, mean_floats)
  normalised = Mul (centred, inverse_std)
  network_image = If (is_hwc) <
    then_branch = interleaved () => (hwc) {{ hwc = Identity (normalised) }},
    else_branch = planes () => (chw) {{ chw = Transpose <perm = [2, 0, 1]> (normalised) }}
  >
}}
"""
