/** A patient's sequences on one grid, valid by construction; see `gliomask.case` and `gliomask.io.brats`. */

import type { Air, Foreground } from './air'
import { findForeground, withoutFarAir } from './air'
import { general, InputError, OtherGridError, tuple } from './errors'
import type { Grid, Triple } from './grid'
import { applyTurn, cornerDistanceMm, describeGrid, sameGrid, turnFrom, voxelMl } from './grid'
import { type Nan, withoutNan, withoutNumber } from './nan'
import type { NiftiVolume, Qform } from './nifti'
import type { Sequence } from './sequences'
import { isNiftiName, PAPER_ORDER, sequenceOfFileName, stem } from './sequences'

const FEWEST_SLICES = 3
const AIR_HU = [-5000, -500] as const
const CT_SHARE = 0.1

export interface Case {
  readonly id: string
  readonly volumes: ReadonlyMap<Sequence, Float32Array>
  readonly grid: Grid
  readonly header: Uint8Array
  readonly formCodes: readonly [number, number]
  /** What the header's qform says beside its sform; null where it has no such two. */
  readonly qform: Qform | null
  readonly reordered: readonly Sequence[]
  /** The NaN that were mended. */
  readonly nan: ReadonlyMap<Sequence, Nan>
  readonly foreground: Foreground
}

/** What the names of files say: one file for each sequence, those that several match, and those that name none. */
export interface Recognised<File> {
  readonly files: ReadonlyMap<Sequence, File>
  readonly several: ReadonlyMap<Sequence, readonly File[]>
  readonly unknown: readonly File[]
}

/** Sorts files by the sequence in their names; a person can correct the result before anything is read. */
export function recognise<File extends { readonly name: string }>(files: readonly File[]): Recognised<File> {
  const found = new Map<Sequence, File[]>()
  const unknown: File[] = []
  for (const file of files.filter((one) => isNiftiName(one.name))) {
    const sequence = sequenceOfFileName(stem(file.name))
    if (sequence) found.set(sequence, [...(found.get(sequence) ?? []), file])
    else unknown.push(file)
  }
  const single = [...found].flatMap(([sequence, all]) => (all.length === 1 ? [[sequence, all[0] as File] as const] : []))
  return { files: new Map(single), several: new Map([...found].filter(([, all]) => all.length > 1)), unknown }
}

/** Joins what the files of a case held, on the grid of the first; those laid out in another order are turned, nothing is resampled. */
export function caseOf(id: string, files: ReadonlyMap<Sequence, NiftiVolume>): Case {
  const sequences = PAPER_ORDER.filter((sequence) => files.has(sequence))
  if (!sequences.includes('flair') && !sequences.includes('t1ce')) {
    throw new InputError('Without both FLAIR and T1ce a tumour cannot be segmented; one of them is needed.')
  }
  const first = files.get(sequences[0] as Sequence) as NiftiVolume
  const volumes = new Map<Sequence, Float32Array>()
  const nan = new Map<Sequence, Nan>()
  const reordered: Sequence[] = []
  for (const sequence of sequences) {
    const file = files.get(sequence) as NiftiVolume
    const turn = turnFrom(first.grid, file.grid)
    if (!turn) throw otherGrid(id, file, first)
    const same = sameGrid(first.grid, file.grid)
    if (!same) reordered.push(sequence)
    volumes.set(sequence, same ? file.values : applyTurn(turn, file.values))
  }
  for (const [sequence, volume] of volumes) {
    const [clean, mended] = withoutNan(volume, first.grid.shape)
    refuseNothing(`Case ${id}: ${sequence} (${(files.get(sequence) as NiftiVolume).name})`, clean, first.grid.shape)
    volumes.set(sequence, clean)
    nan.set(sequence, mended)
  }
  if (Math.min(...first.grid.shape) < FEWEST_SLICES) {
    throw new InputError(
      `Case ${id}: its grid, ${describeGrid(first.grid)}, is no volume; at least ${FEWEST_SLICES} slices are needed. Give the whole scan.`,
    )
  }
  refuseCtAndCopies(id, volumes, files)
  const foreground = findForeground([...volumes.values()], first.grid.shape, voxelMl(first.grid))
  const formCodes = [first.sformCode, first.qformCode] as const
  return { id, volumes, grid: first.grid, header: first.header, formCodes, qform: first.qform, reordered, nan, foreground }
}

/** Returns a sequence for measuring inside the brain: as it is but for air far from all tissue. */
export function tissueOf(one: Pick<Case, 'volumes' | 'foreground'>, sequence: Sequence): Float32Array {
  const air = one.foreground.airs[[...one.volumes.keys()].indexOf(sequence)] as Air
  return withoutFarAir(one.volumes.get(sequence) as Float32Array, air)
}

function otherGrid(id: string, file: NiftiVolume, first: NiftiVolume): OtherGridError {
  const sameShape = tuple(file.grid.shape) === tuple(first.grid.shape)
  const apart = sameShape ? `, with corners up to ${general(cornerDistanceMm(first.grid, file.grid), 3)} mm apart` : ''
  return new OtherGridError(
    `Case ${id}: ${file.name} lies on another grid than ${first.name}: ${describeGrid(file.grid)} against ${describeGrid(first.grid)}${apart}. ` +
      'Register and resample the sequences to one grid first.',
  )
}

function refuseNothing(name: string, volume: Float32Array, shape: Triple): void {
  let [low, high] = [Infinity, -Infinity]
  for (let v = 0; v < volume.length; v++) {
    const value = volume[v] as number
    if (value < low) low = value
    if (value > high) high = value
  }
  const bad = withoutNumber(volume, shape)
  if (bad) {
    throw new InputError(
      `${name} ${bad}. NaN counts as air only where it reaches the border of the field of view. ` +
        'Find out where they come from before segmenting.',
    )
  }
  if (low === high) {
    const what = low === 0 ? 'is empty: every voxel is 0' : `shows nothing: every voxel is ${general(low)}`
    throw new InputError(`${name} ${what}. Check that the file is the right one.`)
  }
}

function refuseCtAndCopies(id: string, volumes: ReadonlyMap<Sequence, Float32Array>, files: ReadonlyMap<Sequence, NiftiVolume>): void {
  const name = (sequence: Sequence) => `${sequence} (${files.get(sequence)?.name})`
  for (const [sequence, volume] of volumes) {
    let air = 0
    for (let v = 0; v < volume.length; v++) if ((volume[v] as number) > AIR_HU[0] && (volume[v] as number) < AIR_HU[1]) air++
    if (air / volume.length > CT_SHARE) {
      const share = `${Math.round((100 * air) / volume.length)}%`
      throw new InputError(
        `Case ${id}: ${name(sequence)} looks like a CT: ${share} of it is below ${AIR_HU[1]}, as air is in Hounsfield units. Give the MR sequence.`,
      )
    }
  }
  const all = [...volumes]
  all.forEach(([first, one], n) => {
    for (const [second, other] of all.slice(n + 1)) {
      if (one.some((value, v) => value !== other[v])) continue
      throw new InputError(
        `Case ${id}: ${name(first)} and ${name(second)} hold the same image. ` +
          'Give each sequence its own scan, and name by --without what the patient does not have.',
      )
    }
  })
}
