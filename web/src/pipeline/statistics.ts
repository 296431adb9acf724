/** Statistics as numpy computes them. */

/** Returns percentiles of values by linear interpolation. */
export function percentiles(values: Float32Array | Float64Array, percents: readonly number[]): number[] {
  const sorted = values.slice().sort()
  return percents.map((percent) => {
    const place = (percent / 100) * (sorted.length - 1)
    const low = Math.floor(place)
    const [a = 0, b = 0] = [sorted[low], sorted[Math.min(low + 1, sorted.length - 1)]]
    const part = place - low
    // As numpy interpolates, from the nearer end.
    return part < 0.5 ? a + (b - a) * part : b - (b - a) * (1 - part)
  })
}

/** Returns mean and standard deviation, in double precision. */
export function meanAndDeviation(values: ArrayLike<number>): [number, number] {
  let sum = 0
  for (let n = 0; n < values.length; n++) sum += values[n] as number
  const mean = sum / values.length
  let squares = 0
  for (let n = 0; n < values.length; n++) squares += ((values[n] as number) - mean) ** 2
  return [mean, Math.sqrt(squares / values.length)]
}
