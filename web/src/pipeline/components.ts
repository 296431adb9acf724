/** Connected components of masks; see `scipy.ndimage.label`. */

import type { Triple } from './grid'
import { voxelCount } from './grid'

export interface Components {
  /** Number of each voxel's component, 0 for none. */
  readonly labels: Int32Array
  /** Voxels of each component, by its number; the first entry is 0. */
  readonly sizes: number[]
}

/** Labels the components of a mask's non-zero voxels; faces connect, or with `corners` edges and corners, too. */
export function label(mask: Uint8Array, shape: Triple, corners: boolean): Components {
  const [width, height, depth] = shape
  const labels = new Int32Array(voxelCount(shape))
  const sizes = [0]
  const steps = neighbourSteps(corners)
  let stack = new Int32Array(1024)
  for (let seed = 0; seed < mask.length; seed++) {
    if (!mask[seed] || labels[seed]) continue
    const number = sizes.length
    let count = 0
    let size = 0
    stack[count++] = seed
    labels[seed] = number
    while (count) {
      const at = stack[--count] as number
      size++
      const i = at % width
      const j = Math.floor(at / width) % height
      const k = Math.floor(at / (width * height))
      for (const [di, dj, dk] of steps) {
        const [ni, nj, nk] = [i + di, j + dj, k + dk]
        if (ni < 0 || nj < 0 || nk < 0 || ni >= width || nj >= height || nk >= depth) continue
        const next = ni + width * (nj + height * nk)
        if (!mask[next] || labels[next]) continue
        labels[next] = number
        if (count === stack.length) {
          const larger = new Int32Array(2 * count)
          larger.set(stack)
          stack = larger
        }
        stack[count++] = next
      }
    }
    sizes.push(size)
  }
  return { labels, sizes }
}

/** Returns a mask's largest component with its holes filled. */
export function largestWhole(mask: Uint8Array, shape: Triple): Uint8Array<ArrayBuffer> {
  const { labels, sizes } = label(mask, shape, false)
  const best = sizes.indexOf(Math.max(...sizes.slice(1)))
  const outside = new Uint8Array(mask.length)
  for (let v = 0; v < mask.length; v++) outside[v] = labels[v] === best ? 0 : 1
  const gaps = label(outside, shape, false)
  const open = new Set(borderValues(gaps.labels, shape))
  const result = new Uint8Array(mask.length)
  for (let v = 0; v < mask.length; v++) result[v] = open.has(gaps.labels[v] as number) && outside[v] ? 0 : 1
  return result
}

/** Returns the values on the six faces of a volume, each once. */
export function borderValues(values: Int32Array, shape: Triple): number[] {
  const [width, height, depth] = shape
  const found = new Set<number>()
  for (let k = 0; k < depth; k++) {
    for (let j = 0; j < height; j++) {
      const edge = k === 0 || k === depth - 1 || j === 0 || j === height - 1
      const row = width * (j + height * k)
      if (edge) for (let i = 0; i < width; i++) found.add(values[row + i] as number)
      else found.add(values[row] as number).add(values[row + width - 1] as number)
    }
  }
  return [...found]
}

function neighbourSteps(corners: boolean): Triple[] {
  const steps: Triple[] = []
  for (const dk of [-1, 0, 1]) {
    for (const dj of [-1, 0, 1]) {
      for (const di of [-1, 0, 1]) {
        const distance = Math.abs(di) + Math.abs(dj) + Math.abs(dk)
        if (distance === 1 || (corners && distance > 1)) steps.push([di, dj, dk])
      }
    }
  }
  return steps
}
