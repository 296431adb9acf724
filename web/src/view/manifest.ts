/** What `gliomask view` hands to its page: which file is what, in JSON inside the page. */

import type { Sequence } from '../pipeline/sequences'
import type { Facts } from '../viewer/exam'

/** A file of the page; where the page is one file, its bytes are in it. */
export interface PageFile {
  readonly file: number
  readonly name: string
  /** Where it lies on the page's own server, in place of a number. */
  readonly url?: string
}

/** A label map, and the number that stands for each of background, necrotic, oedema and enhancing in it. */
export interface LabelFile extends PageFile {
  readonly codes: readonly number[]
}

export interface ManifestExam {
  readonly id: string
  readonly title: string
  readonly scans: Readonly<Partial<Record<Sequence, PageFile>>>
  readonly segmentation: LabelFile | null
  readonly reference: LabelFile | null
  readonly maps: readonly (PageFile & { readonly title: string })[]
  readonly facts: Facts
}

export interface Manifest {
  readonly gliomask: string
  readonly exams: readonly ManifestExam[]
  /** Where corrections are sent, from the page; null where the page can only have them downloaded. */
  readonly corrections: string | null
}
