/** From probabilities to a label map; see `gliomask.engines.ends.decide` and `gliomask.postprocess`. */

import { label } from './components'
import { ModelError } from './errors'
import type { Triple } from './grid'
import { voxelCount } from './grid'
import type { Model, Region } from './model'
import { LABELS } from './predict'

export const [BACKGROUND, NECROTIC, OEDEMA, ENHANCING] = [0, 1, 2, 3] as const

/** Labels that make up each nested region. */
export const REGION_LABELS: Readonly<Record<Region, readonly number[]>> = {
  WT: [NECROTIC, OEDEMA, ENHANCING],
  TC: [NECROTIC, ENHANCING],
  ET: [ENHANCING],
}

/** Components of less than this share of the largest are dropped by the chain `3d`. */
const MIN_SHARE = 0.5

export interface Removed {
  readonly components: number
  readonly volumeMl: number
}

/** Returns the label of each voxel: the most probable one, or region by region where several views were averaged. */
export function decide(probabilities: Float32Array, byRegion: boolean): Uint8Array<ArrayBuffer> {
  const labels = new Uint8Array(probabilities.length / LABELS)
  for (let v = 0, at = 0; v < labels.length; v++, at += LABELS) {
    labels[v] = byRegion ? byRegions(probabilities, at) : mostProbable(probabilities, at)
  }
  return labels
}

function byRegions(probabilities: Float32Array, at: number): number {
  const [background = 0, necrotic = 0, , enhancing = 0] = probabilities.subarray(at, at + LABELS)
  if (enhancing > 0.5) return ENHANCING
  if (Math.fround(necrotic + enhancing) > 0.5) return NECROTIC
  return background < 0.5 ? OEDEMA : BACKGROUND
}

function mostProbable(probabilities: Float32Array, at: number): number {
  let best = 0
  for (let l = 1; l < LABELS; l++) if ((probabilities[at + l] as number) > (probabilities[at + best] as number)) best = l
  return best
}

/** Applies a chain by its name. */
export function postprocess(labels: Uint8Array<ArrayBuffer>, chain: string, shape: Triple): Uint8Array<ArrayBuffer> {
  if (chain === 'none') return labels.slice()
  if (chain !== '3d') throw new ModelError(`The browser has no post-processing '${chain}'. Use the command line: gliomask segment.`)
  const box = boxOf(labels, shape, (value) => value !== BACKGROUND)
  if (!box) return labels.slice()
  const { sizes, labels: components } = label(box.values, box.shape, true)
  const threshold = MIN_SHARE * Math.max(...sizes.slice(1))
  const result = labels.slice()
  box.each((voxel, at) => {
    if ((sizes[components[at] as number] as number) < threshold) result[voxel] = BACKGROUND
  })
  return result
}

/** In a tumour that hardly enhances, calls oedema core where the network gives core enough; null where the rule does not apply. */
export function widenCore(labels: Uint8Array<ArrayBuffer>, probabilities: Float32Array, rule: NonNullable<Model['coreRule']>): Uint8Array<ArrayBuffer> | null {
  let [tumour, enhancing] = [0, 0]
  for (const value of labels) {
    if (value) tumour++
    if (value === ENHANCING) enhancing++
  }
  if (!(enhancing < rule.enhancingShare * tumour)) return null
  const limit = Math.fround(rule.coreProbability)
  return labels.map((value, v) => (value === OEDEMA && regionShare(probabilities, v, 'TC') > limit ? NECROTIC : value))
}

/** Calls enhancing components without a confident part core. */
export function confirmEnhancement(
  labels: Uint8Array<ArrayBuffer>,
  probabilities: Float32Array,
  shape: Triple,
  spacing: Triple,
  rule: NonNullable<Model['enhancementRule']>,
): [Uint8Array<ArrayBuffer>, Removed] {
  const result = labels.slice()
  const box = boxOf(labels, shape, (value) => value === ENHANCING)
  if (!box) return [result, { components: 0, volumeMl: 0 }]
  const { sizes, labels: components } = label(box.values, box.shape, true)
  const seeds = sizes.map(() => 0)
  const limit = Math.fround(rule.probability)
  box.each((voxel, at) => {
    const component = components[at] as number
    if (component && regionShare(probabilities, voxel, 'ET') > limit) seeds[component] = (seeds[component] as number) + 1
  })
  const voxelMl = voxelCount(spacing) / 1000
  // Half a voxel of tolerance: 30 voxels of 1 mm are .03 ml in spite of rounding.
  const doubtful = seeds.map((seed, n) => n > 0 && seed * voxelMl < rule.seedMl - voxelMl / 2)
  let lost = 0
  box.each((voxel, at) => {
    if (!doubtful[components[at] as number]) return
    result[voxel] = NECROTIC
    lost++
  })
  return [result, { components: doubtful.filter(Boolean).length, volumeMl: lost * voxelMl }]
}

/** Returns the probability of a region at a voxel, in float32 as numpy sums it. */
export function regionShare(probabilities: Float32Array, voxel: number, region: Region): number {
  return REGION_LABELS[region].reduce((sum, one) => Math.fround(sum + (probabilities[LABELS * voxel + one] as number)), 0)
}

interface BoxOfLabels {
  readonly values: Uint8Array
  readonly shape: Triple
  /** Calls back with each voxel's place in the whole volume and in the box. */
  readonly each: (use: (voxel: number, at: number) => void) => void
}

function boxOf(labels: Uint8Array, [width, height, depth]: Triple, wanted: (value: number) => boolean): BoxOfLabels | null {
  const low = [width, height, depth]
  const high = [-1, -1, -1]
  for (let v = 0; v < labels.length; v++) {
    if (!labels[v] || !wanted(labels[v] as number)) continue
    const place = [v % width, Math.floor(v / width) % height, Math.floor(v / (width * height))]
    place.forEach((n, axis) => {
      low[axis] = Math.min(low[axis] as number, n)
      high[axis] = Math.max(high[axis] as number, n)
    })
  }
  if ((high[0] as number) < 0) return null
  const [i0, j0, k0] = low as Triple
  const shape = high.map((n, axis) => n + 1 - (low[axis] as number)) as Triple
  const each = (use: (voxel: number, at: number) => void) => {
    let at = 0
    for (let k = 0; k < shape[2]; k++) {
      for (let j = 0; j < shape[1]; j++) {
        const row = i0 + width * (j0 + j + height * (k0 + k))
        for (let i = 0; i < shape[0]; i++) use(row + i, at++)
      }
    }
  }
  const values = new Uint8Array(voxelCount(shape))
  each((voxel, at) => {
    values[at] = wanted(labels[voxel] as number) ? 1 : 0
  })
  return { values, shape, each }
}
