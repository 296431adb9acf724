/**
 * NIfTI files: every claim of the header is checked before memory is taken; see `gliomask.io.nifti`.
 *
 * Refusals are in the same words as in Python; `vectors/refusals.json` holds both to them.
 */

import { commas, general, InputError, tuple } from './errors'
import type { Affine, Grid, Triple } from './grid'
import { checkedGrid, pythonFloat, voxelCount } from './grid'

export const MAX_VOXELS = 512 * 512 * 512
const MAX_EXTENSION_BYTES = 64 << 20
const MAX_TRAILING_BYTES = 64 << 10
const NIFTI1_BYTES = 348
const NIFTI2_BYTES = 540
const EXTENDER_BYTES = 4
const HIGHEST_FORM_CODE = 5
/** Lowest square of a quaternion's first part that counts as 0, negated; see `gliomask.geometry.QUATERNION_THRESHOLD`. */
const QUATERNION_THRESHOLD = 1e-4

/** What a file held: float32 values with the first axis fastest, its grid and its header as bytes. */
export interface NiftiVolume {
  readonly name: string
  readonly values: Float32Array
  readonly grid: Grid
  readonly header: Uint8Array
  readonly sformCode: number
  readonly qformCode: number
  /** What the qform says where there is a sform, too; null where one of them is missing. */
  readonly qform: Qform | null
}

/** A qform: its grid, or null where it is no rotation, and the length of its quaternion's three parts. */
export interface Qform {
  readonly grid: Grid | null
  readonly length: number
}

interface Header {
  readonly bytes: DataView
  readonly little: boolean
  readonly nifti2: boolean
  readonly shape: number[]
  readonly datatype: number
  readonly voxOffset: number
  readonly slope: number
  readonly intercept: number
  readonly pixdim: number[]
  readonly qformCode: number
  readonly sformCode: number
  readonly quaternion: Triple
  readonly offset: Triple
  readonly sform: Affine
  readonly units: number
}

type Read = (view: DataView, at: number, little: boolean) => number

/** Bytes of a voxel and how to read it, by `datatype` (NIfTI-1 standard). */
const DATA_TYPES: Readonly<Record<number, readonly [number, Read]>> = {
  2: [1, (view, at) => view.getUint8(at)],
  4: [2, (view, at, little) => view.getInt16(at, little)],
  8: [4, (view, at, little) => view.getInt32(at, little)],
  16: [4, (view, at, little) => view.getFloat32(at, little)],
  64: [8, (view, at, little) => view.getFloat64(at, little)],
  256: [1, (view, at) => view.getInt8(at)],
  512: [2, (view, at, little) => view.getUint16(at, little)],
  768: [4, (view, at, little) => view.getUint32(at, little)],
  1024: [8, (view, at, little) => Number(view.getBigInt64(at, little))],
  1280: [8, (view, at, little) => Number(view.getBigUint64(at, little))],
}

/** Known types that are no real numbers of at most 8 bytes, as numpy names them. */
const OTHER_TYPES: Readonly<Record<number, string>> = {
  32: 'complex64',
  128: "[('R', 'u1'), ('G', 'u1'), ('B', 'u1')]",
  1792: 'complex128',
  2304: "[('R', 'u1'), ('G', 'u1'), ('B', 'u1'), ('A', 'u1')]",
}

const OTHER_KINDS: readonly (readonly [readonly number[], string])[] = [
  [[0x1f, 0x8b], 'It is compressed with gzip twice: unpack it once.'],
  [[0x50, 0x4b, 3, 4], 'It is a zip archive: unpack it.'],
  [[0x42, 0x5a, 0x68], 'It is compressed with bzip2: unpack it.'],
  [[0xfd, 0x37, 0x7a, 0x58, 0x5a], 'It is compressed with xz: unpack it.'],
  [[0x28, 0xb5, 0x2f, 0xfd], 'It is compressed with zstd: unpack it.'],
  [[...new TextEncoder().encode('version https://git-lfs')], 'It is a pointer to a file kept by Git LFS: fetch the file itself.'],
  [[0x4e, 0x52, 0x52, 0x44], 'It is an NRRD file: convert it to NIfTI.'],
]

/** Reads a 3-D NIfTI file, compressed or not. */
export async function readNifti(name: string, file: Blob): Promise<NiftiVolume> {
  const stream = new Bytes(name, await opened(file))
  try {
    return await readStream(name, stream)
  } finally {
    await stream.close()
  }
}

async function readStream(name: string, stream: Bytes): Promise<NiftiVolume> {
  const header = await readHeader(name, stream)
  const shape = checkedShape(name, header)
  const grid = gridOf(name, header, shape)
  const values = await readVoxels(name, stream, header, shape)
  const bytes = new Uint8Array(header.bytes.buffer.slice(0))
  return { name, values, grid, header: bytes, sformCode: header.sformCode, qformCode: header.qformCode, qform: qformOf(name, header, shape) }
}

function qformOf(name: string, header: Header, shape: Triple): Qform | null {
  if (header.sformCode <= 0 || header.qformCode <= 0) return null
  const length = Math.hypot(...header.quaternion)
  try {
    return { grid: checkedGrid(shape, quaternionAffine(name, header)), length }
  } catch (error) {
    if (error instanceof InputError) return { grid: null, length }
    throw error
  }
}

async function opened(file: Blob): Promise<ReadableStream<Uint8Array>> {
  const start = new Uint8Array(await file.slice(0, 2).arrayBuffer())
  const raw = file.stream() as ReadableStream<Uint8Array<ArrayBuffer>>
  return start[0] === 0x1f && start[1] === 0x8b ? raw.pipeThrough(new DecompressionStream('gzip')) : raw
}

/** A stream that is read in pieces of the length asked for. */
class Bytes {
  private readonly reader: ReadableStreamDefaultReader<Uint8Array>
  private chunk = new Uint8Array(0)

  constructor(
    private readonly name: string,
    stream: ReadableStream<Uint8Array>,
  ) {
    this.reader = stream.getReader()
  }

  /** Returns that many bytes, or all that are left. */
  async read(count: number): Promise<Uint8Array> {
    const result = new Uint8Array(count)
    let filled = 0
    while (filled < count) {
      if (!this.chunk.length && !(await this.more())) return result.subarray(0, filled)
      const part = this.chunk.subarray(0, count - filled)
      result.set(part, filled)
      filled += part.length
      this.chunk = this.chunk.subarray(part.length)
    }
    return result
  }

  async close(): Promise<void> {
    await this.reader.cancel().catch(() => undefined)
  }

  private async more(): Promise<boolean> {
    try {
      const { done, value } = await this.reader.read()
      if (!done) this.chunk = value as Uint8Array<ArrayBuffer>
      return !done
    } catch (error) {
      const what = error instanceof Error ? error.message : String(error)
      throw new InputError(
        `${this.name}: the gzip stream is truncated or corrupt (${what}). Copy the file again from its source.`,
      )
    }
  }
}

async function readHeader(name: string, stream: Bytes): Promise<Header> {
  const head = await stream.read(NIFTI1_BYTES)
  if (!head.length) throw new InputError(`${name}: is empty. Copy the file again from its source.`)
  const start = new DataView(head.buffer, head.byteOffset, head.length)
  const sizes = head.length < 4 ? [] : [start.getInt32(0, true), start.getInt32(0, false)]
  const nifti2 = sizes.includes(NIFTI2_BYTES)
  if (!nifti2 && !sizes.includes(NIFTI1_BYTES)) {
    throw new InputError(`${name}: not a NIfTI file (its first bytes are ${pythonBytes(head.subarray(0, 4))}). ${whatElse(head)}`)
  }
  const length = nifti2 ? NIFTI2_BYTES : NIFTI1_BYTES
  const rest = await stream.read(length - NIFTI1_BYTES)
  if (head.length + rest.length < length) {
    throw new InputError(`${name}: ends inside its header (${head.length + rest.length} of ${length} bytes). Copy the file again from its source.`)
  }
  const bytes = new Uint8Array(length)
  bytes.set(head)
  bytes.set(rest, head.length)
  const header = withoutOddSigns(parsed(new DataView(bytes.buffer), sizes[0] === length, nifti2))
  const magic = nifti2 ? bytes.subarray(4, 12) : bytes.subarray(344, 348)
  const text = String.fromCharCode(...magic).split('\0')[0]
  if (text !== 'n+1' && !text?.startsWith('n+2')) {
    const end = magic.findLastIndex((byte) => byte !== 0) + 1
    throw new InputError(
      `${name}: not a single-file NIfTI (magic ${pythonBytes(magic.subarray(0, end))}). Convert .hdr/.img pairs to .nii.gz first.`,
    )
  }
  return header
}

/**
 * The sign of pixdim[0] alone counts, and 0 is 1, as in the standard's own library; where there is a sform, the sign of a spacing says
 * nothing. The header's bytes are changed alike, since the label map is written with them.
 */
function withoutOddSigns(header: Header): Header {
  const pixdim = [...header.pixdim]
  pixdim[0] = (header.pixdim[0] as number) < 0 ? -1 : 1
  if (header.sformCode > 0) for (let n = 1; n < 4; n++) pixdim[n] = Math.abs(pixdim[n] as number)
  pixdim.forEach((value, n) => {
    if (header.nifti2) header.bytes.setFloat64(104 + 8 * n, value, header.little)
    else header.bytes.setFloat32(76 + 4 * n, value, header.little)
  })
  return { ...header, pixdim }
}

function parsed(bytes: DataView, little: boolean, nifti2: boolean): Header {
  const float = (at: number, n: number) => (nifti2 ? bytes.getFloat64(at + 8 * n, little) : bytes.getFloat32(at + 4 * n, little))
  const code = (at: number) => (nifti2 ? bytes.getInt32(at, little) : bytes.getInt16(at, little))
  const at = nifti2
    ? { dim: 16, datatype: 12, pixdim: 104, offset: 168, slope: 176, inter: 184, qform: 344, sform: 348, quatern: 352, srow: 400, units: 500 }
    : { dim: 40, datatype: 70, pixdim: 76, offset: 108, slope: 112, inter: 116, qform: 252, sform: 254, quatern: 256, srow: 280, units: 123 }
  const dim = (n: number) => (nifti2 ? Number(bytes.getBigInt64(at.dim + 8 * n, little)) : bytes.getInt16(at.dim + 2 * n, little))
  const numbers = (start: number, count: number) => Array.from({ length: count }, (_, n) => float(start, n))
  const quatern = numbers(at.quatern, 6)
  const srow = numbers(at.srow, 12)
  return {
    bytes,
    little,
    nifti2,
    shape: Array.from({ length: 8 }, (_, n) => dim(n)),
    datatype: bytes.getInt16(at.datatype, little),
    voxOffset: nifti2 ? Number(bytes.getBigInt64(at.offset, little)) : bytes.getFloat32(at.offset, little),
    slope: float(at.slope, 0),
    intercept: float(at.inter, 0),
    pixdim: numbers(at.pixdim, 4),
    qformCode: code(at.qform),
    sformCode: code(at.sform),
    quaternion: quatern.slice(0, 3) as Triple,
    offset: quatern.slice(3) as Triple,
    sform: [srow.slice(0, 4), srow.slice(4, 8), srow.slice(8, 12)] as Affine,
    units: nifti2 ? bytes.getInt32(at.units, little) : bytes.getUint8(at.units),
  }
}

function whatElse(head: Uint8Array): string {
  if (String.fromCharCode(...head.subarray(128, 132)) === 'DICM') {
    return 'It is a DICOM file: give the folder of the series to gliomask dicom convert first.'
  }
  const known = OTHER_KINDS.find(([start]) => start.every((byte, n) => head[n] === byte))
  return known?.[1] ?? 'Convert it to NIfTI first.'
}

function checkedShape(name: string, header: Header): Triple {
  const count = header.shape[0] as number
  if (!(count >= 1 && count <= 7)) {
    throw new InputError(`${name}: the header claims ${count} dimensions; NIfTI allows 1 to 7. The file is corrupt.`)
  }
  const shape = header.shape.slice(1, count + 1)
  if (Math.min(...shape) < 1) throw new InputError(`${name}: the header claims the shape ${tuple(shape)}. The file is corrupt.`)
  while (shape.length > 3 && shape.at(-1) === 1) shape.pop()
  if (shape.length !== 3) {
    const hint = shape.length > 3 ? 'The file holds several volumes: give one 3-D file for each sequence.' : 'Give a volume of several slices.'
    throw new InputError(`${name}: 3 dimensions are needed, found ${shape.length} with shape ${tuple(shape)}. ${hint}`)
  }
  const voxels = voxelCount(shape)
  if (voxels > MAX_VOXELS) {
    throw new InputError(
      `${name}: the header claims ${commas(voxels)} voxels ${tuple(shape)}; the limit is ${commas(MAX_VOXELS)}. The header is wrong, or crop the scan.`,
    )
  }
  return shape as Triple
}

function gridOf(name: string, header: Header, shape: Triple): Grid {
  for (const [field, code] of [['sform_code', header.sformCode], ['qform_code', header.qformCode]] as const) {
    if (code < 0 || code > HIGHEST_FORM_CODE) {
      throw new InputError(
        `${name}: the header's ${field} is ${code}; NIfTI defines 0 to ${HIGHEST_FORM_CODE}, and programs differ in where they would place the scan. ` +
          'Repair the header first.',
      )
    }
  }
  const spacing = header.pixdim.slice(1)
  const found = `[${spacing.map(pythonFloat).join(', ')}]`
  const units = { 1: 'metres', 3: 'micrometres' }[header.units & 7]
  if (units) {
    throw new InputError(
      `${name}: the header counts in ${units} (spacing ${found}); millimetres are needed. Write the header in millimetres first.`,
    )
  }
  if (!spacing.every((mm) => Number.isFinite(mm) && mm !== 0)) {
    throw new InputError(`${name}: the header's spacing is ${found} mm. Repair the header first.`)
  }
  try {
    return checkedGrid(shape, bestAffine(name, header, shape))
  } catch (error) {
    if (error instanceof InputError && !error.message.startsWith(name)) throw new InputError(`${name}: ${error.message}`)
    throw error
  }
}

/** The sform, else the qform, else spacing alone with the first axis to the left (nibabel's `get_best_affine`). */
function bestAffine(name: string, header: Header, shape: Triple): Affine {
  if (header.sformCode > 0) return header.sform
  const [, x = 1, y = 1, z = 1] = header.pixdim
  if (header.qformCode > 0) return quaternionAffine(name, header)
  const steps: Triple = [-x, y, z]
  return [0, 1, 2].map((r) => [
    ...[0, 1, 2].map((c) => (c === r ? steps[r as 0] : 0)),
    (-steps[r as 0] * (shape[r as 0] - 1)) / 2,
  ]) as unknown as Affine
}

function quaternionAffine(name: string, header: Header): Affine {
  const refuse = (what: string) => new InputError(`${name}: the header's affine cannot be used (${what}). Repair the header first.`)
  const [handedness = 1, ...spacing] = header.pixdim as [number, number, number, number]
  const [b, c, d] = header.quaternion
  const square = 1 - (b * b + c * c + d * d)
  if (!(square >= -QUATERNION_THRESHOLD)) throw refuse(`w2 should be positive, but is ${pythonExponent(square)}`)
  if (spacing.some((mm) => mm < 0)) throw refuse('pixdims[1,2,3] should be positive')
  const a = Math.abs(square) < QUATERNION_THRESHOLD ? 0 : Math.sqrt(square)
  // As nibabel's `quat2mat`: scaled by the quaternion's own length.
  const scale = 2 / (a * a + b * b + c * c + d * d)
  const rotation = [
    [1 - scale * (c * c + d * d), scale * (b * c - a * d), scale * (b * d + a * c)],
    [scale * (b * c + a * d), 1 - scale * (b * b + d * d), scale * (c * d - a * b)],
    [scale * (b * d - a * c), scale * (c * d + a * b), 1 - scale * (b * b + c * c)],
  ]
  const steps = [spacing[0], spacing[1], spacing[2] * handedness]
  return rotation.map((row, r) => [...row.map((value, n) => value * (steps[n] as number)), header.offset[r as 0]]) as unknown as Affine
}

async function readVoxels(name: string, stream: Bytes, header: Header, shape: Triple): Promise<Float32Array> {
  const kind = DATA_TYPES[header.datatype]
  if (!kind) {
    const other = OTHER_TYPES[header.datatype]
    throw new InputError(
      other
        ? `${name}: its data type is ${other}; integers or floats are needed.`
        : `${name}: unknown data type code ${header.datatype}. The file is corrupt.`,
    )
  }
  const scaled = Number.isFinite(header.slope) && header.slope !== 0
  refuseOddScaling(name, header, scaled)
  const extension = header.voxOffset - header.bytes.byteLength
  if (!(extension >= EXTENDER_BYTES && extension <= MAX_EXTENSION_BYTES && Number.isInteger(extension))) {
    throw new InputError(`${name}: the header places the voxels at byte ${pythonFloat(header.voxOffset)}. The file is corrupt.`)
  }
  await stream.read(extension)
  const [size, read] = kind
  const count = voxelCount(shape)
  const plane = shape[0] * shape[1]
  const plain = !scaled || (header.slope === 1 && header.intercept === 0)
  // Memory grows with what has come, not with what the header claims.
  const planes: Float32Array[] = []
  for (let k = 0; k < shape[2]; k++) {
    const data = await stream.read(plane * size)
    if (data.length < plane * size) {
      const found = commas(k * plane * size + data.length)
      throw new InputError(`${name}: ends after ${found} of ${commas(count * size)} bytes of voxels. Copy the file again from its source.`)
    }
    const view = new DataView(data.buffer, data.byteOffset, data.length)
    const values = new Float32Array(plane)
    for (let n = 0; n < plane; n++) {
      const value = read(view, n * size, header.little)
      values[n] = plain ? value : value * header.slope + header.intercept
    }
    planes.push(values)
  }
  if ((await stream.read(MAX_TRAILING_BYTES + 1)).length > MAX_TRAILING_BYTES) {
    throw new InputError(
      `${name}: holds more than the ${commas(count)} voxels that its header claims ${tuple(shape)}. The header is wrong; write the file anew.`,
    )
  }
  const values = new Float32Array(count)
  planes.forEach((part, k) => values.set(part, k * plane))
  return values
}

function refuseOddScaling(name: string, header: Header, scaled: boolean): void {
  if (!scaled) return
  const slope = general(header.slope)
  if (!Number.isFinite(header.intercept)) {
    throw new InputError(
      `${name}: the header's scl_slope is ${slope} but its scl_inter is ${pythonFloat(header.intercept)}. Repair the header first.`,
    )
  }
  if (header.slope < 0) {
    throw new InputError(`${name}: the header's scl_slope is ${slope}, which turns dark into bright. Write the voxels out as they are meant.`)
  }
}

/** Returns a label map as a `.nii` file in the grid of the scan whose header is given: place and codes kept, free text dropped. */
export function writeLabelMap(source: Uint8Array, labels: Uint8Array): Uint8Array<ArrayBuffer> {
  const nifti2 = source.length === NIFTI2_BYTES
  const header = littleEndian(source, nifti2)
  const view = new DataView(header.buffer)
  const clear = (start: number, length: number) => header.fill(0, start, start + length)
  if (nifti2) {
    // intent_p1 to p3; cal_max, cal_min, slice_duration; slice_start and slice_end; descrip and aux_file; slice_code; intent_code and name.
    for (const [start, length] of [[80, 24], [192, 24], [224, 16], [240, 104], [496, 4], [504, 20]] as const) clear(start, length)
    view.setInt16(12, 2, true)
    view.setInt16(14, 8, true)
    view.setFloat64(176, 1, true)
    view.setFloat64(184, 0, true)
    view.setBigInt64(168, BigInt(NIFTI2_BYTES + EXTENDER_BYTES), true)
  } else {
    // db_name; intent_p1 to p3 and code; slice_start; slice_end and slice_code; cal_max, cal_min, slice_duration; descrip, aux_file; intent_name.
    for (const [start, length] of [[14, 18], [56, 14], [74, 2], [120, 3], [124, 12], [148, 104], [328, 16]] as const) clear(start, length)
    view.setInt16(70, 2, true)
    view.setInt16(72, 8, true)
    view.setFloat32(112, 1, true)
    view.setFloat32(116, 0, true)
    view.setFloat32(108, NIFTI1_BYTES + EXTENDER_BYTES, true)
  }
  threeDimensions(view, nifti2)
  header.set(new TextEncoder().encode('gliomask'), nifti2 ? 240 : 148)
  const file = new Uint8Array(header.length + EXTENDER_BYTES + labels.length)
  file.set(header)
  file.set(labels, header.length + EXTENDER_BYTES)
  return file
}

function threeDimensions(view: DataView, nifti2: boolean): void {
  for (let n = 4; n < 8; n++) {
    if (nifti2) view.setBigInt64(16 + 8 * n, 1n, true)
    else view.setInt16(40 + 2 * n, 1, true)
  }
  if (nifti2) view.setBigInt64(16, 3n, true)
  else view.setInt16(40, 3, true)
}

/** Field widths of a header in their order, so that one written on a big-endian machine can be turned (NIfTI-1 and NIfTI-2 standards). */
const NIFTI1_WIDTHS = '4*1 1*28 4*1 2*1 1*2 2*8 4*3 2*4 4*11 2*1 1*2 4*4 4*2 1*104 2*2 4*18 1*20'
const NIFTI2_WIDTHS = '4*1 1*8 2*2 8*8 8*3 8*8 8*1 8*2 8*2 8*2 8*2 1*104 4*2 8*6 8*12 4*3 1*17 1*15'

function littleEndian(source: Uint8Array, nifti2: boolean): Uint8Array<ArrayBuffer> {
  const header = new Uint8Array(source)
  const view = new DataView(header.buffer)
  if (view.getInt32(0, true) === header.length) return header
  let at = 0
  for (const [width = 1, count = 0] of (nifti2 ? NIFTI2_WIDTHS : NIFTI1_WIDTHS).split(' ').map((part) => part.split('*').map(Number))) {
    for (let n = 0; n < count; n++, at += width) header.subarray(at, at + width).reverse()
  }
  return header
}

function pythonBytes(bytes: Uint8Array): string {
  const named: Record<number, string> = { 9: '\\t', 10: '\\n', 13: '\\r', 92: '\\\\' }
  const letters = [...bytes].map((byte) => {
    if (named[byte]) return named[byte]
    return byte >= 32 && byte < 127 ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`
  })
  const quote = bytes.includes(39) && !bytes.includes(34) ? '"' : "'"
  return `b${quote}${quote === "'" ? letters.join('').replaceAll("'", "\\'") : letters.join('')}${quote}`
}

function pythonExponent(value: number): string {
  const [mantissa, power = '0'] = value.toExponential(6).split('e')
  return `${mantissa}e${Number(power) < 0 ? '-' : '+'}${String(Math.abs(Number(power))).padStart(2, '0')}`
}
