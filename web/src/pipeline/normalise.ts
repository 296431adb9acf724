/** Intensity normalisation; see `gliomask.preprocess.normalise`. Only `volume` is needed by the model that ships. */

import { ModelError } from './errors'
import { meanAndDeviation, percentiles } from './statistics'

const VOLUME_PERCENTILES = [0.5, 99.5]

/** Value of the `volume` method outside the brain. */
export const VOLUME_BACKGROUND = 0

/** Normalises a volume by the method that a model names. */
export function normalise(method: string, volume: Float32Array, brain: Uint8Array): Float32Array {
  if (method !== 'volume') throw new ModelError(`The browser cannot normalise by '${method}'. Use the command line: gliomask segment.`)
  return normaliseVolume(volume, brain)
}

/** Clips to percentiles 0.5 and 99.5 of the brain and z-scores over it; 0 outside. */
export function normaliseVolume(volume: Float32Array, brain: Uint8Array): Float32Array {
  const result = new Float32Array(volume.length)
  const inside = volume.filter((_, v) => brain[v])
  if (!inside.length) return result
  const [low = 0, high = 0] = percentiles(inside, VOLUME_PERCENTILES)
  if (!(low < high)) return result
  const clipped = Float64Array.from(inside, (value) => Math.min(Math.max(value, low), high))
  const [mean, deviation] = meanAndDeviation(clipped)
  let at = 0
  for (let v = 0; v < volume.length; v++) if (brain[v]) result[v] = ((clipped[at++] as number) - mean) / deviation
  return result
}
