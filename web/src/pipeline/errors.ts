/** Errors that people can act on, in the same words as the Python package's (`gliomask.errors`). */

/** A file, a header or a case that cannot be segmented. */
export class InputError extends Error {
  override name = 'InputError'
}

/** Sequences that lie on several grids, as they come from the scanner. */
export class OtherGridError extends InputError {}

/** The model's files are missing, altered, or do not reproduce their golden pair. */
export class ModelError extends Error {
  override name = 'ModelError'
}

/** Returns a number as Python's format `:.Ng` writes it, for numbers of everyday size. */
export function general(value: number, digits = 6): string {
  if (value === 0) return '0'
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf'
  const exponent = Number(value.toExponential(digits - 1).split('e')[1])
  if (exponent >= -4 && exponent < digits) {
    const fixed = value.toFixed(Math.max(0, digits - 1 - exponent))
    return fixed.includes('.') ? fixed.replace(/\.?0+$/, '') : fixed
  }
  const [mantissa = '', power = '0'] = value.toExponential(digits - 1).split('e')
  const short = mantissa.includes('.') ? mantissa.replace(/\.?0+$/, '') : mantissa
  const size = Math.abs(Number(power))
  return `${short}e${Number(power) < 0 ? '-' : '+'}${size < 10 ? '0' : ''}${size}`
}

/** Returns a whole number with commas between thousands, as Python's `:,` does. */
export function commas(value: number): string {
  return Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, ',')
}

/** Returns numbers as Python prints a tuple. */
export function tuple(values: readonly number[]): string {
  return `(${values.join(', ')}${values.length === 1 ? ',' : ''})`
}
