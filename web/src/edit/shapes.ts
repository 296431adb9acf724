/** Which voxels a tool takes: pure functions of a grid and of flat arrays with the first axis fastest. */

import { type Grid, spacingMm, type Triple } from '../pipeline/grid'
import { indexOf } from '../viewer/places'

export type Axis = 0 | 1 | 2

const OTHERS: readonly (readonly [Axis, Axis])[] = [[1, 2], [0, 2], [0, 1]]

/** Returns the voxels of a disc in the slice of a voxel: centres at most `radiusMm` from it. The voxel itself is always one of them. */
export function disc(grid: Grid, centre: Triple, axis: Axis, radiusMm: number): number[] {
  const spacing = spacingMm(grid)
  const [u, v] = OTHERS[axis] as readonly [Axis, Axis]
  const [reachU, reachV] = [Math.floor(radiusMm / spacing[u]), Math.floor(radiusMm / spacing[v])]
  const found: number[] = []
  for (let b = -reachV; b <= reachV; b++) {
    for (let a = -reachU; a <= reachU; a++) {
      if (Math.hypot(a * spacing[u], b * spacing[v]) > radiusMm) continue
      const voxel: Triple = [...centre]
      voxel[u] += a
      voxel[v] += b
      if (inside(grid, voxel)) found.push(indexOf(grid, voxel))
    }
  }
  return found
}

/** Returns voxels on the straight way from one to another, so that a quick stroke has no gaps. */
export function way(from: Triple, to: Triple): Triple[] {
  const steps = Math.max(1, ...to.map((value, n) => Math.abs(value - (from[n] as number))))
  return Array.from({ length: steps + 1 }, (_, n) => from.map((value, a) => Math.round(value + ((to[a] as number) - value) * (n / steps))) as Triple)
}

/** What growing found. */
export interface Grown {
  readonly indices: number[]
  /** True where it was stopped by the radius: it may have run over. */
  readonly stopped: boolean
}

/**
 * Grows from a seed over neighbours (by faces) whose intensity is within `tolerance` of the seed's, at most `radiusMm` away.
 *
 * @param tolerance a share of `span`, the width of the window in which the person looks at the scan.
 */
export function grow(grid: Grid, values: Float32Array, seed: Triple, tolerance: number, span: number, radiusMm: number): Grown {
  const spacing = spacingMm(grid)
  const start = indexOf(grid, seed)
  const middle = values[start] as number
  const limit = tolerance * span
  const seen = new Uint8Array(values.length)
  const queue = [start]
  seen[start] = 1
  const indices: number[] = []
  let stopped = false
  while (queue.length) {
    const index = queue.pop() as number
    indices.push(index)
    for (const [next, voxel] of neighbours(grid, index)) {
      if (seen[next] || Math.abs((values[next] as number) - middle) > limit) continue
      seen[next] = 1
      if (Math.hypot(...voxel.map((value, a) => (value - (seed[a] as number)) * (spacing[a] as number))) > radiusMm) stopped = true
      else queue.push(next)
    }
  }
  return { indices, stopped }
}

/** Returns the connected part (by faces) of one label that holds a voxel. */
export function part(grid: Grid, labels: Uint8Array, voxel: Triple): number[] {
  const start = indexOf(grid, voxel)
  const label = labels[start]
  const seen = new Set([start])
  const queue = [start]
  for (let n = 0; n < queue.length; n++) {
    for (const [next] of neighbours(grid, queue[n] as number)) {
      if (labels[next] !== label || seen.has(next)) continue
      seen.add(next)
      queue.push(next)
    }
  }
  return queue
}

/**
 * Returns the voxels of slices between two drawn ones that belong to the shape in between: where the mean of the two slices' signed
 * distances to the outline, weighted by nearness, is not outside (shape-based interpolation, Raya and Udupa, IEEE TMI 1990).
 */
export function between(grid: Grid, labels: Uint8Array, label: number, axis: Axis, first: number, last: number): number[] {
  const [from, to] = [signedDistance(grid, labels, label, axis, first), signedDistance(grid, labels, label, axis, last)]
  if (!from || !to) return []
  const [u, v] = OTHERS[axis] as readonly [Axis, Axis]
  const found: number[] = []
  for (let slice = first + 1; slice < last; slice++) {
    const share = (slice - first) / (last - first)
    for (let b = 0; b < grid.shape[v]; b++) {
      for (let a = 0; a < grid.shape[u]; a++) {
        const at = a + grid.shape[u] * b
        if ((1 - share) * (from[at] as number) + share * (to[at] as number) > 0) continue
        const voxel: Triple = [0, 0, 0]
        voxel[axis] = slice
        voxel[u] = a
        voxel[v] = b
        found.push(indexOf(grid, voxel))
      }
    }
  }
  return found
}

/** Distance in mm to the outline of a label in a slice, negative inside; null where the slice has none of it. */
function signedDistance(grid: Grid, labels: Uint8Array, label: number, axis: Axis, slice: number): Float32Array | null {
  const [u, v] = OTHERS[axis] as readonly [Axis, Axis]
  const [width, height] = [grid.shape[u], grid.shape[v]]
  const inside = new Uint8Array(width * height)
  let any = false
  for (let b = 0; b < height; b++) {
    for (let a = 0; a < width; a++) {
      const voxel: Triple = [0, 0, 0]
      voxel[axis] = slice
      voxel[u] = a
      voxel[v] = b
      if (labels[indexOf(grid, voxel)] !== label) continue
      inside[a + width * b] = 1
      any = true
    }
  }
  if (!any) return null
  const spacing = spacingMm(grid)
  const steps: readonly [number, number] = [spacing[u], spacing[v]]
  const outer = distances(inside, width, height, steps, 1)
  const inner = distances(inside, width, height, steps, 0)
  // The outline runs half way between a voxel inside and its neighbour outside.
  return outer.map((value, n) => (inside[n] ? -Math.max(0, (inner[n] as number) - 0.5) : value - 0.5))
}

/** Exact distances to the nearest voxel that has a value (Felzenszwalb and Huttenlocher, Theory of Computing 2012). */
function distances(plane: Uint8Array, width: number, height: number, [stepU, stepV]: readonly [number, number], value: number): Float32Array {
  const far = 1e12
  const squares = Float64Array.from(plane, (one) => (one === value ? 0 : far))
  for (let b = 0; b < height; b++) {
    const row = squares.subarray(b * width, (b + 1) * width)
    row.set(lowerEnvelope(row, stepU))
  }
  for (let a = 0; a < width; a++) {
    const column = Float64Array.from({ length: height }, (_, b) => squares[a + width * b] as number)
    lowerEnvelope(column, stepV).forEach((one, b) => (squares[a + width * b] = one))
  }
  return Float32Array.from(squares, Math.sqrt)
}

function lowerEnvelope(line: Float64Array, step: number): Float64Array {
  const length = line.length
  const tops = new Int32Array(length)
  const borders = new Float64Array(length + 1)
  const at = (n: number) => (line[n] as number) + (n * step) ** 2
  let last = 0
  borders[0] = -Infinity
  borders[1] = Infinity
  for (let q = 1; q < length; q++) {
    const meet = () => (at(q) - at(tops[last] as number)) / (2 * step * step * (q - (tops[last] as number)))
    while (last > 0 && meet() <= (borders[last] as number)) last--
    const where = meet()
    last++
    tops[last] = q
    borders[last] = where
    borders[last + 1] = Infinity
  }
  const result = new Float64Array(length)
  let here = 0
  for (let q = 0; q < length; q++) {
    while ((borders[here + 1] as number) < q) here++
    const top = tops[here] as number
    result[q] = ((q - top) * step) ** 2 + (line[top] as number)
  }
  return result
}

function* neighbours(grid: Grid, index: number): Generator<readonly [number, Triple]> {
  const [width, height, depth] = grid.shape
  const [i, j, k] = [index % width, Math.floor(index / width) % height, Math.floor(index / (width * height))]
  if (i > 0) yield [index - 1, [i - 1, j, k]]
  if (i < width - 1) yield [index + 1, [i + 1, j, k]]
  if (j > 0) yield [index - width, [i, j - 1, k]]
  if (j < height - 1) yield [index + width, [i, j + 1, k]]
  if (k > 0) yield [index - width * height, [i, j, k - 1]]
  if (k < depth - 1) yield [index + width * height, [i, j, k + 1]]
}

function inside(grid: Grid, voxel: Triple): boolean {
  return voxel.every((value, axis) => value >= 0 && value < (grid.shape[axis] as number))
}
