/** Leaving out the air round a brain: pictures are larger, and the graphics hold a third of the voxels. Only what is drawn is cropped. */

import type { Affine, Grid, Triple } from '../pipeline/grid'
import type { Exam } from './exam'
import { placeIn, pointOf } from './places'

const AXES = [0, 1, 2] as const

/** Air that is left round what is shown, mm. */
const MARGIN_MM = 6

/** A part of space, RAS mm. */
export interface Space {
  readonly lowest: Triple
  readonly highest: Triple
}

/** A part of a grid: its first voxel along each axis, and the one after its last. */
export interface Box {
  readonly first: Triple
  readonly end: Triple
}

/** Returns the space that holds everything of an exam that is not air; all of it where nothing is. */
export function spaceOf(exam: Exam): Space {
  const lowest: Triple = [Infinity, Infinity, Infinity]
  const highest: Triple = [-Infinity, -Infinity, -Infinity]
  const maps = [exam.segmentation, exam.reference].filter((map) => map !== null)
  for (const { grid, values } of [...exam.scans.values(), ...maps]) {
    const box = boxOf(grid, values)
    const found = box ? cornersOf(box.first, box.end.map((end) => end - 1) as Triple) : []
    for (const corner of found) {
      pointOf(grid, corner).forEach((mm, axis) => {
        lowest[axis] = Math.min(lowest[axis] as number, mm - MARGIN_MM)
        highest[axis] = Math.max(highest[axis] as number, mm + MARGIN_MM)
      })
    }
  }
  const all: Space = { lowest: [-Infinity, -Infinity, -Infinity], highest: [Infinity, Infinity, Infinity] }
  return lowest.every(Number.isFinite) ? { lowest, highest } : all
}

/** Returns the part of a grid that covers a space. */
export function boxIn(grid: Grid, space: Space): Box {
  const whole: Box = { first: [0, 0, 0], end: [...grid.shape] }
  const places = cornersOf(space.lowest, space.highest).map((corner) => placeIn(grid, corner))
  const along = (a: 0 | 1 | 2) => places.map((place) => place[a])
  const first = AXES.map((a) => Math.max(0, Math.floor(Math.min(...along(a))))) as Triple
  const end = AXES.map((a) => Math.min(grid.shape[a], Math.ceil(Math.max(...along(a))) + 1)) as Triple
  // Less than two voxels along an axis is no volume that can be drawn.
  return AXES.every((a) => end[a] - first[a] > 1) ? { first, end } : whole
}

/** Returns the grid of a part. */
export function croppedGrid(grid: Grid, { first, end }: Box): Grid {
  return { shape: AXES.map((a) => end[a] - first[a]) as Triple, affine: shifted(grid.affine, first) }
}

/** Returns the voxels of a part. */
export function cropped<Values extends Float32Array | Uint8Array>(grid: Grid, values: Values, { first, end }: Box): Values {
  const [width, height] = grid.shape
  const run = end[0] - first[0]
  const found = new (values.constructor as new (length: number) => Values)(run * (end[1] - first[1]) * (end[2] - first[2]))
  let at = 0
  for (let k = first[2]; k < end[2]; k++) {
    for (let j = first[1]; j < end[1]; j++, at += run) {
      const from = first[0] + width * (j + height * k)
      found.set(values.subarray(from, from + run), at)
    }
  }
  return found
}

/** The box of voxels that differ from the first one, which is air where there is air; null where none does. */
function boxOf(grid: Grid, values: Float32Array | Uint8Array): Box | null {
  const [width, height, depth] = grid.shape
  const air = values[0]
  const first: Triple = [width, height, depth]
  const end: Triple = [0, 0, 0]
  for (let k = 0, row = 0; k < depth; k++) {
    for (let j = 0; j < height; j++, row += width) {
      let [low, high] = [0, width - 1]
      while (low < width && values[row + low] === air) low++
      if (low === width) continue
      while (values[row + high] === air) high--
      const here: Triple = [low, j, k]
      const there: Triple = [high, j, k]
      for (const a of AXES) {
        first[a] = Math.min(first[a], here[a])
        end[a] = Math.max(end[a], there[a] + 1)
      }
    }
  }
  return end[0] ? { first, end } : null
}

function cornersOf(lowest: Triple, highest: Triple): Triple[] {
  return Array.from({ length: 8 }, (_, n) => AXES.map((a) => ((n >> a) & 1 ? highest[a] : lowest[a])) as Triple)
}

/** The affine of a grid that begins at a voxel of another. */
function shifted(affine: Affine, first: Triple): Affine {
  return affine.map((row) => [row[0], row[1], row[2], row[0] * first[0] + row[1] * first[1] + row[2] * first[2] + row[3]]) as Affine
}
