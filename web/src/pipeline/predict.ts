/** A network of slices over a brain, along three planes; see `gliomask.predict`. */

import type { Triple } from './grid'
import { voxelCount } from './grid'
import type { Model } from './model'
import { diceToExpect } from './quality'
import { Sizes } from './sizes'

/** Slices that go through the network together. */
export const SLAB_SLICES = 8

/** Probability of tumour above which a voxel is suspected. */
const SUSPICION = 0.1

/** Largest distance of the slices that are looked at first, and how far round a suspected voxel tumour can be. */
const LOOK_MM = 3
const MARGIN_MM = 6

/** Expected Dice of the whole tumour below which the whole brain is asked. */
const UNSURE_DICE = 0.8

export const LABELS = 4

/** A network: a batch (N, H, W, C), last axis fastest, to probabilities (N, H, W, 4). */
export type Predict = (batch: Float32Array, shape: readonly [number, number, number, number]) => Promise<Float32Array>

/** Sequences as the network takes them, in LPS order with the first axis fastest. */
export interface Prepared {
  readonly channels: readonly Float32Array[]
  readonly brain: Uint8Array
  readonly shape: Triple
  readonly background: number
  /** Size of a voxel along each axis. */
  readonly spacingMm: Triple
}

type Network = Pick<Model, 'halo' | 'multiple' | 'neighbours'>

/** Axes of a volume in the order rows, columns, normal of each plane. */
const PLANE_AXES = { axial: [0, 1, 2], coronal: [0, 2, 1], sagittal: [1, 2, 0] } as const satisfies Record<string, Triple>

interface Box {
  readonly rows: readonly [number, number]
  readonly columns: readonly [number, number]
  readonly slab: readonly [number, number]
  /** Slices, height and width of the batch, at least as large as the box; what is beyond the volume is background. */
  readonly size: Triple
}

/** Returns the probabilities of each voxel, four in turn; where the network was not asked it is background for certain. */
export async function predictBrain(
  prepared: Prepared,
  network: Network,
  planes: Model['planes'],
  predict: Predict,
  progress: (done: number, total: number) => void = () => undefined,
): Promise<Float32Array> {
  const sizes = new Sizes()
  if (planes.length === 1) return meanOfPlanes(prepared, network, planes, predict, sizes, progress)
  // What is left is not known before: it is taken to be as much again as the first look, and the whole brain is seldom asked.
  let before = 0
  const region = await suspectedRegion(prepared, network, predict, sizes, (done, total) => progress(done, 2 * (before = total)))
  const near = await meanOfPlanes({ ...prepared, brain: region }, network, planes, predict, sizes, (done, total) => {
    progress(before + done, before + total)
    if (done === total) before += total
  })
  if (!unsure(near)) return near
  return meanOfPlanes(prepared, network, planes, predict, sizes, (done, total) => progress(before + done, before + total))
}

/** Returns the mean of a network's views along several planes, the axial one first. */
async function meanOfPlanes(
  prepared: Prepared,
  network: Network,
  planes: Model['planes'],
  predict: Predict,
  sizes: Sizes,
  progress: (done: number, total: number) => void,
): Promise<Float32Array> {
  const { brain, shape } = prepared
  const probabilities = new Float32Array(LABELS * voxelCount(shape))
  for (let v = 0; v < probabilities.length; v += LABELS) probabilities[v] = 1
  const work = planes.flatMap((plane) => boxes(brain, shape, PLANE_AXES[plane], network, sizes).map((box) => ({ plane, box })))
  for (const [n, { plane, box }] of work.entries()) {
    await ask(prepared, network, PLANE_AXES[plane], box, brain, predict, (v, answer, at) => {
      for (let l = 0; l < LABELS; l++) {
        const sum = plane === 'axial' ? 0 : (probabilities[LABELS * v + l] as number)
        probabilities[LABELS * v + l] = sum + (answer[at + l] as number)
      }
    })
    progress(n + 1, work.length)
  }
  for (let v = 0; v < brain.length; v++) {
    if (!brain[v]) continue
    for (let l = 0; l < LABELS; l++) probabilities[LABELS * v + l] = (probabilities[LABELS * v + l] as number) / planes.length
  }
  return probabilities
}

/** Returns true if the network expects so little of its own whole tumour that more surroundings may change it. */
function unsure(probabilities: Float32Array): boolean {
  let [inside, everywhere, voxels] = [0, 0, 0]
  for (let v = 0; v < probabilities.length; v += LABELS) {
    const tumour = Math.fround(1 - (probabilities[v] as number))
    everywhere += tumour
    if (tumour <= 0.5) continue
    inside += tumour
    voxels++
  }
  return diceToExpect(inside, everywhere, voxels) < UNSURE_DICE
}

/** Returns where tumour can be: the brain around voxels that the network gives any chance of tumour in a few axial slices. */
async function suspectedRegion(
  prepared: Prepared,
  network: Network,
  predict: Predict,
  sizes: Sizes,
  progress: (done: number, total: number) => void,
): Promise<Uint8Array> {
  const [rows, columns, slices] = prepared.shape
  const step = Math.max(1, Math.floor(LOOK_MM / prepared.spacingMm[2]))
  const looked = new Uint8Array(prepared.brain.length)
  for (let k = Math.floor(step / 2); k < slices; k += step) {
    const start = k * rows * columns
    looked.set(prepared.brain.subarray(start, start + rows * columns), start)
  }
  const suspected = new Uint8Array(looked.length)
  const limit = Math.fround(1 - SUSPICION)
  // A slab holds neighbouring slices, so slices apart go one by one.
  const work = boxes(looked, prepared.shape, PLANE_AXES.axial, network, sizes, step === 1 ? SLAB_SLICES : 1)
  for (const [n, box] of work.entries()) {
    await ask(prepared, network, PLANE_AXES.axial, box, looked, predict, (v, answer, at) => {
      if ((answer[at] as number) < limit) suspected[v] = 1
    })
    progress(n + 1, work.length)
  }
  return withMargin(suspected, prepared)
}

/** Returns a mask with all of the brain that lies within the margin of it along each axis. */
function withMargin(suspected: Uint8Array, { brain, shape, spacingMm }: Prepared): Uint8Array {
  let mask = suspected
  for (const axis of [0, 1, 2] as const) {
    const reach = Math.ceil(MARGIN_MM / spacingMm[axis])
    const stride = axis === 0 ? 1 : axis === 1 ? shape[0] : shape[0] * shape[1]
    const length = shape[axis]
    const wider = new Uint8Array(mask.length)
    for (let v = 0; v < mask.length; v++) {
      if (!mask[v]) continue
      const at = Math.floor(v / stride) % length
      for (let d = -Math.min(reach, at); d <= Math.min(reach, length - 1 - at); d++) wider[v + d * stride] = 1
    }
    mask = wider
  }
  for (let v = 0; v < mask.length; v++) mask[v] = (mask[v] as number) & (brain[v] as number)
  return mask
}

/** Asks the network about one box and hands over where in the answer each voxel of the mask is. */
async function ask(
  prepared: Prepared,
  network: Network,
  axes: Triple,
  box: Box,
  mask: Uint8Array,
  predict: Predict,
  use: (voxel: number, answer: Float32Array, at: number) => void,
): Promise<void> {
  const strides = [1, prepared.shape[0], prepared.shape[0] * prepared.shape[1]]
  const [row, column, normal] = axes.map((axis) => strides[axis] as number) as Triple
  const { batch, shape } = cut(prepared, network, axes, box, [row, column, normal])
  const answer = await predict(batch, shape)
  const [, height, width] = shape
  for (let n = box.slab[0]; n < box.slab[1]; n++) {
    for (let r = box.rows[0]; r < box.rows[1]; r++) {
      for (let c = box.columns[0]; c < box.columns[1]; c++) {
        const voxel = r * row + c * column + n * normal
        if (mask[voxel]) use(voxel, answer, LABELS * (((n - box.slab[0]) * height + r - box.rows[0]) * width + c - box.columns[0]))
      }
    }
  }
}

/** Returns a box's slices, each with its neighbours, lowest first, as further channels; background beyond the volume. */
function cut(prepared: Prepared, network: Network, axes: Triple, box: Box, [row, column, normal]: Triple) {
  const slices = 2 * network.neighbours + 1
  const sequences = prepared.channels.length
  const depth = prepared.shape[axes[2] as 0 | 1 | 2]
  const [items, height, width] = box.size
  const shape = [items, height, width, slices * sequences] as const
  const batch = new Float32Array(voxelCount(shape)).fill(prepared.background)
  for (let n = box.slab[0]; n < box.slab[1]; n++) {
    for (let place = 0; place < slices; place++) {
      const slice = n + place - network.neighbours
      if (slice < 0 || slice >= depth) continue
      prepared.channels.forEach((volume, sequence) => {
        for (let r = box.rows[0]; r < box.rows[1]; r++) {
          let at = (((n - box.slab[0]) * height + r - box.rows[0]) * width) * shape[3] + place * sequences + sequence
          let from = r * row + box.columns[0] * column + slice * normal
          for (let c = box.columns[0]; c < box.columns[1]; c++, at += shape[3], from += column) batch[at] = volume[from] as number
        }
      })
    }
  }
  return { batch, shape }
}

/** Returns boxes that hold all of a mask: runs of at most `thickness` slices, each with the smallest box and the network's halo. */
export function boxes(mask: Uint8Array, shape: Triple, axes: Triple, network: Network, sizes: Sizes, thickness = SLAB_SLICES): Box[] {
  const [rows, columns, depth] = axes.map((axis) => shape[axis as 0 | 1 | 2]) as Triple
  const strides = [1, shape[0], shape[0] * shape[1]]
  const [row, column, normal] = axes.map((axis) => strides[axis] as number) as Triple
  const extent = Array.from({ length: depth }, (_, n) => {
    let [top, bottom, left, right] = [rows, -1, columns, -1]
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) {
        if (!mask[r * row + c * column + n * normal]) continue
        top = Math.min(top, r)
        bottom = r
        left = Math.min(left, c)
        right = Math.max(right, c)
      }
    }
    return { n, top, bottom, left, right }
  }).filter((found) => found.bottom >= 0)
  const result: Omit<Box, 'size'>[] = []
  for (let at = 0; at < extent.length; ) {
    const start = extent[at]?.n as number
    const run = extent.slice(at).filter((found) => found.n < start + thickness)
    at += run.length
    result.push({
      rows: withHalo(Math.min(...run.map((f) => f.top)), Math.max(...run.map((f) => f.bottom)), rows, network),
      columns: withHalo(Math.min(...run.map((f) => f.left)), Math.max(...run.map((f) => f.right)), columns, network),
      slab: [start, (run.at(-1)?.n as number) + 1],
    })
  }
  const { multiple } = network
  const wanted = result.map(({ rows: r, columns: c, slab }): Triple => [
    slab[1] - slab[0],
    roundUp(r[1] - r[0], multiple),
    roundUp(c[1] - c[0], multiple),
  ])
  return sizes.of(wanted).map((size, n) => {
    const box = result[n] as Omit<Box, 'size'>
    return { rows: widened(box.rows, size[1], rows, multiple), columns: widened(box.columns, size[2], columns, multiple), slab: box.slab, size }
  })
}

/** Returns a part of an axis widened to a side, as far as the axis goes; it still starts at a multiple. */
function widened(part: readonly [number, number], side: number, length: number, multiple: number): readonly [number, number] {
  const start = Math.min(part[0], roundUp(Math.max(length - side, 0), multiple))
  return [start, Math.min(length, start + side)]
}

function withHalo(low: number, high: number, length: number, { halo, multiple }: Network): readonly [number, number] {
  return [Math.floor(Math.max(0, low - halo) / multiple) * multiple, Math.min(length, roundUp(high + 1 + halo, multiple))]
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple
}
