/** Whether four sequences are what they are called, and images at all; see `gliomask.preprocess.contrast` and `checks.check_samples`. */

import { type Case, tissueOf } from './case'
import type { Flag } from './checks'
import { general } from './errors'
import { PAPER_ORDER } from './sequences'
import { meanAndDeviation, percentiles } from './statistics'

const [FLAIR, T1, T1CE, T2] = [0, 1, 2, 3] as const
const SAMPLES = 50_000
const FEWEST_SAMPLES = 1000
const SAME_IMAGE_LIMIT = 0.999
const NO_IMAGE_LIMIT = 0.3
const SATURATED_LIMIT = 0.05
const CONTRAST_LIMITS = { enhancement: -0.1, likeness: 0, fluid: 0 } as const
const TOP_PERCENT = 99.8
const FLUID_PERCENT = 2

/** Intensities of brain voxels on a regular grid, a row for each sequence in the paper's order; zeros for those that are not there. */
export type Samples = readonly Float32Array[]

/** Returns the samples of a case, or those of each one's neighbour along the first axis, 0 beyond the volume. */
export function brainSamples(one: Pick<Case, 'grid' | 'volumes' | 'foreground'>, ahead = 0): Samples {
  const [width, height, depth] = one.grid.shape
  const step = Math.max(1, Math.round((one.foreground.voxels / SAMPLES) ** (1 / 3)))
  const start = Math.floor(step / 2)
  const places: number[] = []
  for (let k = start; k < depth; k += step) {
    for (let j = start; j < height; j += step) {
      for (let i = start; i < width; i += step) {
        const v = i + width * (j + height * k)
        if (one.foreground.mask[v]) places.push(i + ahead < width ? v + ahead : -1)
      }
    }
  }
  return PAPER_ORDER.map((sequence) => {
    const volume = one.volumes.has(sequence) ? tissueOf(one, sequence) : null
    return Float32Array.from(places, (v) => (volume && v >= 0 ? (volume[v] as number) : 0))
  })
}

/** Returns the flags that need no more of a case than its samples; swaps are looked for only among different images. */
export function checkContrast(samples: Samples, neighbours: Samples): Flag[] {
  const strange = [sameImage(samples), noImage(samples, neighbours)].filter((flag) => flag !== null)
  return [...strange, saturated(samples), strange.length ? null : sequencesSwapped(samples)].filter((flag) => flag !== null)
}

function sameImage(samples: Samples): Flag | null {
  if ((samples[0]?.length ?? 0) < FEWEST_SAMPLES) return null
  for (let first = 0; first < samples.length; first++) {
    for (let second = first + 1; second < samples.length; second++) {
      const value = correlation(row(samples, first), row(samples, second))
      if (value <= SAME_IMAGE_LIMIT) continue
      const message = `${PAPER_ORDER[first]} and ${PAPER_ORDER[second]} are the same image (correlation ${value.toFixed(4)}). Give each sequence its own scan.`
      return { name: 'same_image', message, value, limit: SAME_IMAGE_LIMIT }
    }
  }
  return null
}

function noImage(samples: Samples, neighbours: Samples): Flag | null {
  const there = Array.from(row(neighbours, 0), (_, n) => neighbours.some((values) => values[n]))
  if (there.filter(Boolean).length < FEWEST_SAMPLES) return null
  for (const [n, values] of samples.entries()) {
    const value = correlation(
      values.filter((_, at) => there[at]),
      row(neighbours, n).filter((_, at) => there[at]),
    )
    if (!values.some(Boolean) || value >= NO_IMAGE_LIMIT) continue
    const message = `${PAPER_ORDER[n]}: neighbouring voxels have little to do with each other (correlation ${value.toFixed(2)}), as in noise. Look at the image.`
    return { name: 'no_image', message, value, limit: NO_IMAGE_LIMIT }
  }
  return null
}

function saturated(samples: Samples): Flag | null {
  if ((samples[0]?.length ?? 0) < FEWEST_SAMPLES) return null
  for (const [n, values] of samples.entries()) {
    const highest = values.reduce((a, b) => Math.max(a, b), -Infinity)
    const share = values.some(Boolean) ? values.filter((value) => value === highest).length / values.length : 0
    if (share <= SATURATED_LIMIT) continue
    const message =
      `${PAPER_ORDER[n]}: ${Math.round(100 * share)}% of the brain has the highest intensity of all (${general(highest)}), so what is bright was cut off. ` +
      "Convert from the scanner's images again, with more bits or scaled."
    return { name: 'saturated', message, value: share, limit: SATURATED_LIMIT }
  }
  return null
}

function sequencesSwapped(samples: Samples): Flag | null {
  if ((samples[0]?.length ?? 0) < FEWEST_SAMPLES) return null
  const there = samples.map((values) => values.some(Boolean))
  const measured: [keyof typeof CONTRAST_LIMITS, number, string][] = []
  if (there.every(Boolean)) {
    const ranks = samples.map(sampleRanks)
    measured.push(['likeness', likeness(ranks), 'T1 and T1ce look less alike, and FLAIR and T2 too, than across these pairs'])
    measured.push(['fluid', fluid(ranks), 'fluid is dark in T2 and bright in FLAIR, the wrong way round'])
  }
  if (there[T1] && there[T1CE]) measured.push(['enhancement', enhancement(samples), 'T1 has brighter spots than T1ce'])
  for (const [name, value, what] of measured) {
    const limit = CONTRAST_LIMITS[name]
    if (value >= limit) continue
    const message = `The sequences look swapped: ${what} (${name} ${value.toFixed(2)}). Look at the four images and check which file is which.`
    return { name: 'sequences_swapped', message, value, limit }
  }
  return null
}

function enhancement(samples: Samples): number {
  const standOut = (values: Float32Array) => {
    const [low = 0, middle = 0, high = 0, top = 0] = percentiles(values, [25, 50, 75, TOP_PERCENT])
    return Math.log((top - middle) / (high - low))
  }
  const difference = standOut(row(samples, T1CE)) - standOut(row(samples, T1))
  return Number.isFinite(difference) ? difference : 0
}

/** Ranks within a sequence, 0 to 1, equal intensities sharing theirs. */
function sampleRanks(values: Float32Array): Float64Array {
  const order = Uint32Array.from(values, (_, n) => n).sort((a, b) => (values[a] as number) - (values[b] as number))
  const ranks = new Float64Array(values.length)
  for (let first = 0; first < order.length; ) {
    let end = first + 1
    while (end < order.length && values[order[end] as number] === values[order[first] as number]) end++
    for (let n = first; n < end; n++) ranks[order[n] as number] = (first + end) / (2 * values.length)
    first = end
  }
  return ranks
}

function likeness(ranks: readonly Float64Array[]): number {
  if (ranks.some((values) => meanAndDeviation(values)[1] === 0)) return 0
  const c = (a: number, b: number) => correlation(ranks[a] as Float64Array, ranks[b] as Float64Array)
  return c(T1, T1CE) + c(FLAIR, T2) - Math.max(c(T1, FLAIR) + c(T1CE, T2), c(T1, T2) + c(T1CE, FLAIR))
}

function fluid(ranks: readonly Float64Array[]): number {
  const at = (sequence: number, n: number) => ranks[sequence]?.[n] as number
  const excess = Float64Array.from(ranks[T2] as Float64Array, (value, n) => value - at(FLAIR, n))
  const [low = 0, high = 0] = percentiles(excess, [FLUID_PERCENT, 100 - FLUID_PERCENT])
  const brightness = (chosen: (value: number) => boolean) => {
    let [sum, count] = [0, 0]
    excess.forEach((value, n) => {
      if (!chosen(value)) return
      sum += at(T1, n) + at(T1CE, n)
      count++
    })
    return sum / count
  }
  return brightness((value) => value <= low) - brightness((value) => value >= high)
}

function correlation(one: Float32Array | Float64Array, other: Float32Array | Float64Array): number {
  const [[a, spreadA], [b, spreadB]] = [meanAndDeviation(one), meanAndDeviation(other)]
  if (one.length < 2 || spreadA === 0 || spreadB === 0) return 0
  let sum = 0
  for (let n = 0; n < one.length; n++) sum += ((one[n] as number) - a) * ((other[n] as number) - b)
  return sum / one.length / (spreadA * spreadB)
}

function row(samples: Samples, n: number): Float32Array {
  return samples[n] as Float32Array
}
