/** Volumes as NIfTI bytes for the drawing library, so that one reader (`pipeline/nifti`) alone decides where voxels are. */

import { type Grid, spacingMm, voxelCount } from '../pipeline/grid'

const HEADER_BYTES = 352
const FLOAT32 = 16
const UINT8 = 2
const MILLIMETRES = 2
const SCANNER = 1

/** Returns a volume as an uncompressed NIfTI-1 file whose sform is the grid's affine. */
export function imageBytes(grid: Grid, values: Float32Array | Uint8Array): ArrayBuffer {
  if (values.length !== voxelCount(grid.shape)) throw new Error(`${values.length} values do not fill a grid of ${grid.shape.join(' x ')}`)
  const float = values instanceof Float32Array
  const file = new ArrayBuffer(HEADER_BYTES + values.byteLength)
  const view = new DataView(file)
  view.setInt32(0, 348, true)
  view.setInt16(40, 3, true)
  for (let n = 1; n < 8; n++) view.setInt16(40 + 2 * n, grid.shape[n - 1] ?? 1, true)
  view.setInt16(70, float ? FLOAT32 : UINT8, true)
  view.setInt16(72, float ? 32 : 8, true)
  view.setFloat32(76, 1, true)
  spacingMm(grid).forEach((mm, n) => view.setFloat32(80 + 4 * n, mm, true))
  view.setFloat32(108, HEADER_BYTES, true)
  view.setFloat32(112, 1, true)
  view.setUint8(123, MILLIMETRES)
  view.setInt16(254, SCANNER, true)
  grid.affine.flat().forEach((value, n) => view.setFloat32(280 + 4 * n, value, true))
  new Uint8Array(file, 344, 3).set(new TextEncoder().encode('n+1'))
  new Uint8Array(file, HEADER_BYTES).set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
  return file
}

/** Returns the window that shows most of a scan: the 1st to the 99.5th percentile of what is not 0. */
export function usualWindow(values: Float32Array): readonly [number, number] {
  const step = Math.max(1, Math.floor(values.length / 200_000))
  const found: number[] = []
  for (let v = 0; v < values.length; v += step) if (values[v]) found.push(values[v] as number)
  if (found.length < 2) return [0, 1]
  found.sort((a, b) => a - b)
  const at = (share: number) => found[Math.min(found.length - 1, Math.floor(share * found.length))] as number
  const [low, high] = [Math.min(0, at(0.01)), at(0.995)]
  return low < high ? [low, high] : [low, low + 1]
}
