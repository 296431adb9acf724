/** What the viewer shows: scans, label maps and value maps of one examination, each on its own grid. */

import type { Grid } from '../pipeline/grid'
import type { Sequence } from '../pipeline/sequences'

/** Labels inside gliomask; 0 is background. */
export const LABELS = [1, 2, 3] as const

export type Label = (typeof LABELS)[number]

/** A scan: intensities with the first axis fastest. */
export interface Scan {
  readonly name: string
  readonly grid: Grid
  readonly values: Float32Array
}

/** A label map: 0 to 3, the first axis fastest, as in its file. */
export interface LabelMap {
  readonly name: string
  readonly grid: Grid
  readonly values: Uint8Array<ArrayBuffer>
  /** Header of the file that it was read from, for writing it again. */
  readonly header: Uint8Array
}

/** A probability or an uncertainty, 0 to 255 for 0 to 1, the first axis fastest. */
export interface ValueMap {
  readonly title: string
  readonly grid: Grid
  readonly values: Uint8Array
}

/** The Dice to be expected of a region, with the interval that held 80 % of cross-validated cases. */
export interface Expected {
  readonly region: string
  readonly dice: number
  readonly low: number
  readonly high: number
}

/** What is known of a result beside its voxels. */
export interface Facts {
  readonly model: string
  readonly flags: readonly string[]
  readonly expected: readonly Expected[]
}

/** The scans of a visit and what was found in them. */
export interface Exam {
  readonly id: string
  readonly title: string
  readonly scans: ReadonlyMap<Sequence, Scan>
  readonly segmentation: LabelMap | null
  readonly reference: LabelMap | null
  readonly maps: readonly ValueMap[]
  readonly facts: Facts
}
