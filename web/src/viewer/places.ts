/** Between millimetres and voxels of a grid. */

import type { Affine, Grid, Triple } from '../pipeline/grid'

/** The three planes, by the world axis (RAS) along which their slices follow each other. */
export const PLANES = { sagittal: 0, coronal: 1, axial: 2 } as const

export type Plane = keyof typeof PLANES

/** Returns the world position of a voxel, RAS mm. */
export function pointOf(grid: Grid, voxel: readonly number[]): Triple {
  return grid.affine.map((row) => row[0] * (voxel[0] ?? 0) + row[1] * (voxel[1] ?? 0) + row[2] * (voxel[2] ?? 0) + row[3]) as Triple
}

/** Returns where a world position (RAS mm) lies in a grid, in voxels and parts of voxels; it may be outside. */
export function placeIn(grid: Grid, point: readonly number[]): Triple {
  const [a, b, c] = grid.affine
  const rest = grid.affine.map((row, r) => (point[r] ?? 0) - row[3]) as Triple
  const det = determinant(a, b, c)
  return [0, 1, 2].map((column) => {
    const replaced = grid.affine.map((row, r) => row.map((value, n) => (n === column ? rest[r as 0] : value))) as unknown as Affine
    return determinant(...replaced) / det
  }) as Triple
}

/** Returns the voxel nearest to a world position (RAS mm); null outside the grid. */
export function voxelAt(grid: Grid, point: readonly number[]): Triple | null {
  const voxel = placeIn(grid, point).map((value) => Math.round(value) + 0) as Triple
  return voxel.every((value, axis) => value >= 0 && value < (grid.shape[axis] as number)) ? voxel : null
}

/** Returns the place of a voxel in the flat array. */
export function indexOf(grid: Grid, voxel: readonly number[]): number {
  return (voxel[0] ?? 0) + grid.shape[0] * ((voxel[1] ?? 0) + grid.shape[1] * (voxel[2] ?? 0))
}

/** Returns the voxel axis that runs most along a world axis: the one that the slices of a plane follow. */
export function axisAlong(grid: Grid, world: 0 | 1 | 2): 0 | 1 | 2 {
  const row = grid.affine[world]
  const strength = ([0, 1, 2] as const).map((axis) => Math.abs(row[axis]) / Math.hypot(...grid.affine.map((one) => one[axis])))
  return strength.indexOf(Math.max(...strength)) as 0 | 1 | 2
}

function determinant(a: readonly number[], b: readonly number[], c: readonly number[]): number {
  const [x = [0, 0, 0], y = [0, 0, 0], z = [0, 0, 0]] = [a, b, c] as number[][]
  const at = (row: number[], n: number) => row[n] ?? 0
  return (
    at(x, 0) * (at(y, 1) * at(z, 2) - at(y, 2) * at(z, 1)) -
    at(x, 1) * (at(y, 0) * at(z, 2) - at(y, 2) * at(z, 0)) +
    at(x, 2) * (at(y, 0) * at(z, 1) - at(y, 1) * at(z, 0))
  )
}

/** Width of the crosshair's lines where there is room for it: of a voxel, so that the voxel under it can be seen. */
export const CROSSHAIR_VOXELS = 0.25

/** Pixels that a line has at least: thinner ones fall between pixels and are not seen. */
const LEAST_PIXELS = 1.5

/**
 * Returns the width of the crosshair's lines, in voxels.
 *
 * @param extentMm of what is drawn, along each axis.
 * @param spacingMm smallest distance of voxels.
 * @param pixels of the shorter side of the picture.
 */
export function crosshairVoxels(extentMm: readonly number[], spacingMm: number, pixels: number): number {
  const mmPerPixel = Math.max(...extentMm) / Math.max(1, pixels)
  return Math.max(CROSSHAIR_VOXELS, (LEAST_PIXELS * mmPerPixel) / spacingMm)
}
