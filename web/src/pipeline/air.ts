/** What is air in MR volumes, and what stands out from it; see `gliomask.air`, whose names and limits these are. */

import { largestWhole } from './components'
import type { Triple } from './grid'
import { percentiles } from './statistics'

export const BRAIN_LIMITS_ML: readonly [number, number] = [700, 2200]
export const FILLED_LIMIT = 0.75
export const FAINT_LIMIT = 0.01
export const TINY = 1e-3
const CONSTANT_SHARE = 0.5
const ROUGH_SHARE = 0.1
const BRIGHT_PERCENTILE = 99.5
const FAINT = 0.05
const NEGATIVE_LIMIT = 0.1
const SAMPLED = 1_000_000

export interface Air {
  readonly level: number
  readonly bright: number
  readonly signed: boolean
  /** Share of the field of view that is not air. */
  readonly filled: number
}

/** What stands out from air; lists name the indices of the volumes. */
export interface Foreground {
  readonly mask: Uint8Array
  readonly voxels: number
  readonly airs: readonly Air[]
  readonly notBare: readonly number[]
  readonly faint: number
  readonly unclean: readonly number[]
}

/** Measures the air of one finite volume. */
export function measureAir(volume: Float32Array, shape: Triple): Air {
  const thin = thinned(volume, shape)
  const level = constantBorder(volume, shape, thin)
  const above = thin.map((value) => value - level)
  const size = above.map(Math.abs)
  const bright = (percentiles(size, [BRIGHT_PERCENTILE])[0] as number) || size.reduce((a, b) => Math.max(a, b), 0)
  const [faint, tiny] = [Math.fround(FAINT * bright), Math.fround(TINY * bright)]
  let [outstanding, negative, filled] = [0, 0, 0]
  for (let n = 0; n < size.length; n++) {
    if ((size[n] as number) > tiny) filled++
    if ((size[n] as number) <= faint) continue
    outstanding++
    if ((above[n] as number) < 0) negative++
  }
  return { level, bright, signed: outstanding > 0 && negative / outstanding > NEGATIVE_LIMIT, filled: filled / size.length }
}

/** True where a volume shows more than a bare brain can. */
export function moreThanBrain(air: Air, voxels: number, voxelMl: number): boolean {
  return air.filled > FILLED_LIMIT || air.filled * voxels * voxelMl > BRAIN_LIMITS_ML[1]
}

/** Finds what stands out from air in finite volumes on one grid. */
export function findForeground(volumes: readonly Float32Array[], shape: Triple, voxelMl: number): Foreground {
  const airs = volumes.map((volume) => measureAir(volume, shape))
  const indices = volumes.map((_, n) => n)
  const heads = indices.filter((n) => moreThanBrain(airs[n] as Air, (volumes[n] as Float32Array).length, voxelMl))
  const notBare = heads.length < volumes.length ? heads : []
  const used = indices.filter((n) => !notBare.includes(n))
  const length = (volumes[0] as Float32Array).length
  let mask = new Uint8Array(length)
  const clear = new Uint8Array(length)
  for (const n of used) addTissue(volumes[n] as Float32Array, airs[n] as Air, mask, clear)
  const enough = used.length / 2
  let [voxels, none, some] = [0, 0, false]
  for (let v = 0; v < length; v++) {
    if (!mask[v]) continue
    voxels++
    if (!clear[v]) none++
    if ((clear[v] as number) >= enough) some = true
  }
  if (none > FAINT_LIMIT * voxels && some) {
    const tissue = largestWhole(mask.map((inside, v) => (inside && (clear[v] as number) >= enough ? 1 : 0)), shape)
    const air = mask.map((inside, v) => (inside && !tissue[v] ? 1 : 0))
    const faint = count(air)
    if (faint > FAINT_LIMIT * voxels) {
      mask = tissue
      voxels = count(mask)
      const limit = FAINT_LIMIT * voxels
      const unclean = used.filter((n) => differing(volumes[n] as Float32Array, (airs[n] as Air).level, air) > limit)
      return { mask, voxels, airs, notBare, faint, unclean }
    }
  }
  return { mask, voxels, airs, notBare, faint: 0, unclean: [] }
}

/**
 * Returns a volume with its air raised to the darkest tissue where a constant lies far from all tissue, such as -32768 for "empty".
 *
 * The same object comes back where air is 0 or lies beside the tissue, as after a z-score.
 */
export function withoutFarAir(volume: Float32Array, air: Air): Float32Array {
  if (air.level === 0) return volume
  let [low, high] = [Infinity, -Infinity]
  for (let v = 0; v < volume.length; v++) {
    const value = volume[v] as number
    if (value === air.level) continue
    if (value < low) low = value
    if (value > high) high = value
  }
  if (low > high || (air.level >= low - (high - low) && air.level <= high)) return volume
  return volume.map((value) => (value === air.level ? low : value))
}

/** Returns how many entries are not 0. */
export function count(mask: Uint8Array): number {
  let found = 0
  for (let v = 0; v < mask.length; v++) if (mask[v]) found++
  return found
}

function addTissue(volume: Float32Array, air: Air, mask: Uint8Array, clear: Uint8Array): void {
  const limit = Math.fround(FAINT * air.bright)
  for (let v = 0; v < volume.length; v++) {
    const value = volume[v] as number
    if (value === air.level) continue
    mask[v] = 1
    const above = Math.fround(value - air.level)
    if ((air.signed ? Math.abs(above) : above) > limit) clear[v] = (clear[v] as number) + 1
  }
}

function differing(volume: Float32Array, level: number, where: Uint8Array): number {
  let found = 0
  for (let v = 0; v < volume.length; v++) if (where[v] && volume[v] !== level) found++
  return found
}

function thinned(volume: Float32Array, shape: Triple): Float32Array {
  const step = Math.max(1, Math.round((volume.length / SAMPLED) ** (1 / 3)))
  const starts = shape.map((n) => Math.min(Math.floor(step / 2), n - 1)) as Triple
  const found = new Float32Array(shape.reduce((all, n, a) => all * Math.ceil((n - (starts[a] as number)) / step), 1))
  let at = 0
  for (let k = starts[2]; k < shape[2]; k += step) {
    for (let j = starts[1]; j < shape[1]; j += step) {
      const row = shape[0] * (j + shape[1] * k)
      for (let i = starts[0]; i < shape[0]; i += step) found[at++] = volume[row + i] as number
    }
  }
  return found
}

function constantBorder(volume: Float32Array, shape: Triple, thin: Float32Array): number {
  const border = Float32Array.from(halfOfFaces(volume, shape)).sort()
  let [level, most, run] = [border[0] as number, 0, 0]
  for (let n = 0; n < border.length; n++) {
    run = n && border[n] === border[n - 1] ? run + 1 : 1
    if (run > most) [level, most] = [border[n] as number, run]
  }
  if (level === 0 || most <= CONSTANT_SHARE * border.length) return 0
  const bright = percentiles(thin.map((value) => Math.abs(value - level)), [BRIGHT_PERCENTILE])[0] as number
  let beside = 0
  for (const value of border) {
    const distance = Math.abs(Math.fround(value - level))
    if (distance > 0 && distance < Math.fround(FAINT * bright)) beside++
  }
  return beside / border.length < ROUGH_SHARE ? level : 0
}

function* halfOfFaces(volume: Float32Array, [width, height, depth]: Triple): Generator<number> {
  const at = (i: number, j: number, k: number) => volume[i + width * (j + height * k)] as number
  for (const i of [0, width - 1]) for (let j = 0; j < height; j += 2) for (let k = 0; k < depth; k += 2) yield at(i, j, k)
  for (const j of [0, height - 1]) for (let i = 0; i < width; i += 2) for (let k = 0; k < depth; k += 2) yield at(i, j, k)
  for (const k of [0, depth - 1]) for (let i = 0; i < width; i += 2) for (let j = 0; j < height; j += 2) yield at(i, j, k)
}
