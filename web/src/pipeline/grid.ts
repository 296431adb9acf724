/**
 * Where voxels are: the shape and affine of a grid, and the exact re-ordering of its axes; see `gliomask.geometry`.
 *
 * Volumes are flat arrays in the order of NIfTI files: the first axis runs fastest. World coordinates are RAS millimetres.
 */

import { general, InputError } from './errors'

export type Triple = [number, number, number]

/** Voxel index to RAS millimetres, the first three rows of a 4 x 4 matrix. */
export type Affine = [[number, number, number, number], [number, number, number, number], [number, number, number, number]]

/** Arrays of voxels. */
export type Voxels = Float32Array | Uint8Array

const SAME_GRID_TOLERANCE_MM = 1e-2
const SPACING_LIMITS_MM: readonly [number, number] = [0.01, 1000]
const MIN_VOXEL_SHARE = 1e-3
const AXES = [0, 1, 2] as const

export interface Grid {
  readonly shape: Triple
  readonly affine: Affine
}

/** Which source axis each target axis is, and whether it runs the other way. */
export interface Turn {
  readonly source: Grid
  readonly target: Grid
  readonly axes: Triple
  readonly flips: readonly [boolean, boolean, boolean]
}

type Matrix = [Triple, Triple, Triple]

/** Refuses grids that cannot be a scan's, and returns the others. */
export function checkedGrid(shape: Triple, affine: Affine): Grid {
  const rows = affine.map((row) => [...row])
  const found = `[${[...rows, [0, 0, 0, 1]].map((row) => `[${row.map(pythonFloat).join(', ')}]`).join(', ')}]`
  if (!rows.flat().every(Number.isFinite)) {
    throw new InputError(`The affine must be 4 x 4 and finite; found ${found}. Repair the header first.`)
  }
  const spacing = spacingMm({ shape, affine })
  const unit = AXES.map((r) => AXES.map((c) => affine[r][c] / spacing[c])) as Matrix
  if (spacing.some((mm) => mm === 0) || Math.abs(determinant(unit)) < MIN_VOXEL_SHARE) {
    throw new InputError(
      `The affine cannot be inverted (its axes do not span space); found ${found}. Repair the header first.`,
    )
  }
  const [low, high] = SPACING_LIMITS_MM
  if (Math.min(...spacing) < low || Math.max(...spacing) > high) {
    const mm = spacing.map(pythonFloat).join(', ')
    throw new InputError(`The spacing is [${mm}] mm; ${general(low)} to ${general(high)} mm is possible. Repair the header first.`)
  }
  return { shape, affine }
}

/** Returns a number as Python prints a float. */
export function pythonFloat(value: number): string {
  if (Number.isNaN(value)) return 'nan'
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf'
  if (Object.is(value, -0)) return '-0.0'
  return Number.isInteger(value) && Math.abs(value) < 1e16 ? value.toFixed(1) : String(value)
}

/** Returns the number of voxels. */
export function voxelCount(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1)
}

/** Returns the distance between neighbouring voxels along each axis, mm. */
export function spacingMm(grid: Grid): Triple {
  return AXES.map((c) => Math.hypot(grid.affine[0][c], grid.affine[1][c], grid.affine[2][c])) as Triple
}

/** Returns the volume of one voxel, ml. */
export function voxelMl(grid: Grid): number {
  return Math.abs(determinant(linear(grid))) / 1000
}

/** Returns the nearest anatomical direction of each axis, as in `LPS`. */
export function orientation(grid: Grid): string {
  const found = nearestAxes(grid)
  return found.map(([axis, sign]) => ['LR', 'PA', 'IS'][axis]?.[sign > 0 ? 1 : 0]).join('')
}

/** Returns the grid in words, for messages. */
export function describeGrid(grid: Grid): string {
  const spacing = spacingMm(grid).map((mm) => general(mm, 3))
  return `${grid.shape.join(' x ')} voxels of ${spacing.join(' x ')} mm, ${orientation(grid)}`
}

/** Returns the largest distance between a corner voxel and its twin in another grid, mm. */
export function cornerDistanceMm(one: Grid, other: Grid): number {
  let largest = 0
  for (let corner = 0; corner < 8; corner++) {
    const place = (grid: Grid) => point(grid, AXES.map((a) => ((corner >> a) & 1) * (grid.shape[a] - 1)) as Triple)
    const [a, b] = [place(one), place(other)]
    largest = Math.max(largest, Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]))
  }
  return largest
}

/** True where both grids have the same shape and no corner lies apart. */
export function sameGrid(one: Grid, other: Grid): boolean {
  return one.shape.every((n, a) => n === other.shape[a]) && cornerDistanceMm(one, other) <= SAME_GRID_TOLERANCE_MM
}

/** Returns the turn that brings a grid's axes nearest to LPS, the axes of every network input. */
export function turnToLps(grid: Grid): Turn {
  const axes: Triple = [0, 0, 0]
  const flips: [boolean, boolean, boolean] = [false, false, false]
  nearestAxes(grid).forEach(([world, sign], source) => {
    axes[world] = source
    // L and P run against the world's axes, S along it.
    flips[world] = world === 2 ? sign < 0 : sign > 0
  })
  return turned(grid, axes, flips)
}

/** Returns the turn that lays another grid's voxels out as this one's; null where the two do not have the same voxels. */
export function turnFrom(grid: Grid, other: Grid): Turn | null {
  const change = multiply(inverse(linear(grid)), linear(other))
  const axes: Triple = [-1, -1, -1]
  const flips: [boolean, boolean, boolean] = [false, false, false]
  for (const source of AXES) {
    let target: 0 | 1 | 2 = 0
    for (const row of AXES) if (Math.abs(change[row][source]) > Math.abs(change[target][source])) target = row
    if (axes[target] >= 0) return null
    axes[target] = source
    flips[target] = change[target][source] < 0
  }
  const turn = turned(other, axes, flips)
  return sameGrid(turn.target, grid) ? turn : null
}

/** Returns a volume of the source grid laid out as the target. */
export function applyTurn<T extends Voxels>(turn: Turn, volume: T): T {
  return moved(turn, volume, false)
}

/** Returns a volume of the target grid laid out as the source again. */
export function undoTurn<T extends Voxels>(turn: Turn, volume: T): T {
  return moved(turn, volume, true)
}

function moved<T extends Voxels>(turn: Turn, volume: T, back: boolean): T {
  const [width, height, depth] = turn.target.shape
  const source = turn.source.shape
  const strides = [1, source[0], source[0] * source[1]]
  const step = turn.axes.map((axis, a) => (strides[axis] ?? 0) * (turn.flips[a] ? -1 : 1)) as Triple
  const start = AXES.reduce<number>((sum, a) => sum + (turn.flips[a] ? (strides[turn.axes[a]] ?? 0) * (turn.target.shape[a] - 1) : 0), 0)
  const result = new (volume.constructor as new (length: number) => T)(volume.length)
  let at = 0
  for (let k = 0; k < depth; k++) {
    for (let j = 0; j < height; j++) {
      let from = start + k * step[2] + j * step[1]
      for (let i = 0; i < width; i++, from += step[0], at++) {
        if (back) result[from] = volume[at] as number
        else result[at] = volume[from] as number
      }
    }
  }
  return result
}

function turned(source: Grid, axes: Triple, flips: readonly [boolean, boolean, boolean]): Turn {
  const origin = AXES.map((a) => (flips[a] ? source.shape[axes[a] as 0 | 1 | 2] - 1 : 0))
  const at: Triple = [0, 0, 0]
  AXES.forEach((a) => (at[axes[a] as 0 | 1 | 2] = origin[a] as number))
  const place = point(source, at)
  const affine = AXES.map((r) => [
    ...AXES.map((a) => (flips[a] ? -1 : 1) * source.affine[r][axes[a] as 0 | 1 | 2]),
    place[r],
  ]) as unknown as Affine
  const shape = axes.map((axis) => source.shape[axis as 0 | 1 | 2]) as Triple
  return { source, target: { shape, affine }, axes, flips }
}

/** The world axis and sign of each voxel axis: those of the rotation nearest to the affine, the clearest axis first (nibabel's `io_orientation`). */
function nearestAxes(grid: Grid): [number, number][] {
  const spacing = spacingMm(grid)
  let rotation = AXES.map((r) => AXES.map((c) => grid.affine[r][c] / spacing[c])) as Matrix
  // Newton's iteration to the polar factor (Higham 1986).
  for (let n = 0; n < 50; n++) {
    const inverted = inverse(rotation)
    rotation = AXES.map((r) => AXES.map((c) => (rotation[r][c] + inverted[c][r]) / 2)) as Matrix
  }
  const strength = (c: 0 | 1 | 2) => Math.max(...AXES.map((r) => rotation[r][c] ** 2))
  const found: [number, number][] = [[0, 1], [1, 1], [2, 1]]
  const taken = new Set<number>()
  for (const c of [...AXES].sort((a, b) => strength(b) - strength(a))) {
    const left = AXES.filter((r) => !taken.has(r))
    const best = left.reduce((one, r) => (Math.abs(rotation[r][c]) > Math.abs(rotation[one][c]) ? r : one), left[0] ?? 0)
    taken.add(best)
    found[c] = [best, rotation[best][c] < 0 ? -1 : 1]
  }
  return found
}

function point(grid: Grid, index: Triple): Triple {
  return AXES.map((r) => AXES.reduce<number>((sum, c) => sum + grid.affine[r][c] * index[c], grid.affine[r][3])) as Triple
}

function linear(grid: Grid): Matrix {
  return AXES.map((r) => AXES.map((c) => grid.affine[r][c])) as Matrix
}

function determinant(m: Matrix): number {
  const [[a, b, c], [d, e, f], [g, h, i]] = m
  return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
}

function inverse(m: Matrix): Matrix {
  const [[a, b, c], [d, e, f], [g, h, i]] = m
  const det = determinant(m)
  const adjugate: Matrix = [
    [e * i - f * h, c * h - b * i, b * f - c * e],
    [f * g - d * i, a * i - c * g, c * d - a * f],
    [d * h - e * g, b * g - a * h, a * e - b * d],
  ]
  return adjugate.map((row) => row.map((value) => value / det)) as Matrix
}

function multiply(one: Matrix, other: Matrix): Matrix {
  return AXES.map((r) => AXES.map((c) => AXES.reduce<number>((sum, n) => sum + one[r][n] * other[n][c], 0))) as Matrix
}
