//! Grids of cubes within what devices take.

use cubecl::prelude::*;

/// The most cubes along one side of a grid.
const MOST_CUBES: usize = 32_768;

/// A grid of so many cubes in a row, or a few more, folded where the row is longer than the device takes.
pub fn row_of(cubes: usize) -> [u32; 2] {
    let rows = cubes.div_ceil(MOST_CUBES).max(1);
    [cubes.div_ceil(rows).max(1) as u32, rows as u32]
}

/// The same as the count of a launch.
pub fn in_a_row(cubes: usize) -> CubeCount {
    let [x, y] = row_of(cubes);
    CubeCount::Static(x, y, 1)
}

/// A grid of at least one cube.
pub fn grid(cubes: [usize; 3]) -> CubeCount {
    let [x, y, z] = cubes.map(|cubes| cubes.max(1) as u32);
    CubeCount::Static(x, y, z)
}
