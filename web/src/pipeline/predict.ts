/** A network of slices over a brain, along three planes; see `gliomask.predict`. */

import type { Triple } from './grid'
import { voxelCount } from './grid'
import type { Model } from './model'
import { Sizes } from './sizes'

/** Slices that go through the network together. */
export const SLAB_SLICES = 8

/** Probability of tumour above which the further planes are asked. */
const SUSPICION = 0.1

export const LABELS = 4

/** A network: a batch (N, H, W, C), last axis fastest, to probabilities (N, H, W, 4). */
export type Predict = (batch: Float32Array, shape: readonly [number, number, number, number]) => Promise<Float32Array>

/** Sequences as the network takes them, in LPS order with the first axis fastest. */
export interface Prepared {
  readonly channels: readonly Float32Array[]
  readonly brain: Uint8Array
  readonly shape: Triple
  readonly background: number
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

/** Returns the probabilities of each voxel, four in turn; outside the brain it is background for certain. */
export async function predictBrain(
  prepared: Prepared,
  network: Network,
  planes: Model['planes'],
  predict: Predict,
  progress: (done: number, total: number) => void = () => undefined,
): Promise<Float32Array> {
  const probabilities = new Float32Array(LABELS * voxelCount(prepared.shape))
  for (let v = 0; v < probabilities.length; v += LABELS) probabilities[v] = 1
  const sizes = new Sizes()
  const first = boxes(prepared.brain, prepared.shape, PLANE_AXES.axial, network, sizes)
  // Until the axial view is done, the further planes are taken to need as much again; their boxes are small.
  const expected = planes.length > 1 ? Math.ceil(first.length * 1.6) : first.length
  for (const [n, box] of first.entries()) {
    await ask(prepared, network, PLANE_AXES.axial, box, prepared.brain, predict, (v, answer, at) => {
      for (let l = 0; l < LABELS; l++) probabilities[LABELS * v + l] = answer[at + l] as number
    })
    progress(n + 1, expected)
  }
  await averagePlanes(prepared, network, planes.slice(1), probabilities, predict, sizes, (done, total) =>
    progress(first.length + done, first.length + total),
  )
  return probabilities
}

/** Averages the views along further planes into the axial one, in place, where that gives tumour any chance. */
async function averagePlanes(
  prepared: Prepared,
  network: Network,
  planes: Model['planes'],
  probabilities: Float32Array,
  predict: Predict,
  sizes: Sizes,
  progress: (done: number, total: number) => void,
): Promise<void> {
  const suspected = new Uint8Array(prepared.brain.length)
  const limit = Math.fround(1 - SUSPICION)
  let any = false
  for (let v = 0; v < suspected.length; v++) {
    if ((probabilities[LABELS * v] as number) >= limit) continue
    suspected[v] = 1
    any = true
  }
  if (!any || !planes.length) return
  const work = planes.flatMap((plane) => {
    const axes = PLANE_AXES[plane]
    return boxes(suspected, prepared.shape, axes, network, sizes).map((box) => ({ axes, box }))
  })
  for (const [n, { axes, box }] of work.entries()) {
    await ask(prepared, network, axes, box, suspected, predict, (v, answer, at) => {
      for (let l = 0; l < LABELS; l++) probabilities[LABELS * v + l] = (probabilities[LABELS * v + l] as number) + (answer[at + l] as number)
    })
    progress(n + 1, work.length)
  }
  const views = 1 + planes.length
  for (let v = 0; v < suspected.length; v++) {
    if (!suspected[v]) continue
    for (let l = 0; l < LABELS; l++) probabilities[LABELS * v + l] = (probabilities[LABELS * v + l] as number) / views
  }
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

/** Returns boxes that hold all of a mask: runs of slices, each with the smallest box and the network's halo. */
export function boxes(mask: Uint8Array, shape: Triple, axes: Triple, network: Network, sizes: Sizes): Box[] {
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
    const run = extent.slice(at).filter((found) => found.n < start + SLAB_SLICES)
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
