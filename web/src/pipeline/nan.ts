/** Voxels without a number: those that mark what lies outside, and those among the others; see `gliomask.nan`. */

import { borderValues, label } from './components'
import { commas } from './errors'
import type { Triple } from './grid'

export const NAN_ISLANDS = 1e-3
const LARGEST_HOLE = 100
const TOLD = 3

/** The NaN of one sequence that were mended. */
export interface Nan {
  /** How many reached the border of the field of view, and became 0. */
  readonly outside: number
  /** The voxels that did not, in the order of the volume; each took the mean of its neighbours. */
  readonly filled: readonly number[]
}

/** Returns a volume with 0 where NaN marks what lies outside, few holes filled, and what was mended; as it is where its NaN mean something else. */
export function withoutNan(volume: Float32Array, shape: Triple): [Float32Array, Nan] {
  const untouched: [Float32Array, Nan] = [volume, { outside: 0, filled: [] }]
  if (!volume.some(Number.isNaN)) return untouched
  const bad = Uint8Array.from(volume, (value) => (Number.isNaN(value) ? 1 : 0))
  const { labels, sizes } = label(bad, shape, false)
  const atBorder = new Set(borderValues(labels, shape))
  const all = sizes.reduce((sum, size) => sum + size, 0)
  const outside = [...atBorder].reduce((sum, number) => sum + (sizes[number] as number), 0)
  const largest = Math.max(0, ...sizes.filter((_, number) => !atBorder.has(number)))
  if (!outside || all - outside > NAN_ISLANDS * (volume.length - all) || largest > LARGEST_HOLE) return untouched
  const filled: number[] = []
  for (let v = 0; v < volume.length; v++) if (bad[v] && !atBorder.has(labels[v] as number)) filled.push(v)
  const mended = fill(volume, shape, filled)
  for (let v = 0; v < mended.length; v++) if (Number.isNaN(mended[v])) mended[v] = 0
  return [mended, { outside, filled }]
}

/** A copy in which each hole has the mean of those of its 26 neighbours that have a number, from the rim inwards. */
function fill(volume: Float32Array, shape: Triple, holes: readonly number[]): Float32Array {
  const result = volume.slice()
  let left = [...holes]
  while (left.length) {
    const means = left.map((v) => meanAround(result, shape, v))
    means.forEach((mean, n) => {
      if (mean !== null) result[left[n] as number] = mean
    })
    left = left.filter((_, n) => means[n] === null)
  }
  return result
}

function meanAround(volume: Float32Array, shape: Triple, at: number): number | null {
  const [i, j, k] = placeOf(at, shape)
  let [total, known] = [0, 0]
  for (let dk = -1; dk <= 1; dk++) {
    for (let dj = -1; dj <= 1; dj++) {
      for (let di = -1; di <= 1; di++) {
        const near = [i + di, j + dj, k + dk] as const
        if (near.some((place, axis) => place < 0 || place >= (shape[axis] as number))) continue
        const value = volume[near[0] + shape[0] * (near[1] + shape[1] * near[2])] as number
        if (Number.isNaN(value)) continue
        total += value
        known++
      }
    }
  }
  return known ? total / known : null
}

function placeOf(at: number, [width, height]: Triple): Triple {
  return [at % width, Math.floor(at / width) % height, Math.floor(at / (width * height))]
}

/** Returns how many voxels are NaN or infinite and where, in words that follow a file's name; null where none are. */
export function withoutNumber(volume: Float32Array, shape: Triple): string | null {
  let bad = 0
  const first: number[] = []
  for (let v = 0; v < volume.length; v++) {
    if (Number.isFinite(volume[v])) continue
    bad++
    if (first.length < TOLD) first.push(v)
  }
  if (!bad) return null
  return `holds ${commas(bad)} voxel${bad > 1 ? 's' : ''} that ${bad > 1 ? 'are' : 'is'} NaN or infinite, ${places(first, bad, shape)}`
}

/** Returns where voxels lie, in words. */
export function places(voxels: readonly number[], all: number, shape: Triple): string {
  const words = voxels.slice(0, TOLD).map((v) => `(${placeOf(v, shape).join(', ')})`)
  return `at voxel ${words.join(', ')}${all > TOLD ? ' and others' : ''}`
}
