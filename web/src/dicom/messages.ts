/** What the page and the worker that reads DICOM headers say to each other. */

import type { Survey } from './survey'

export interface Asked {
  /** How messages call the folder or zip. */
  readonly title: string
  readonly files: readonly File[]
}

/** Files are told by their places in the list that was asked about. */
export type Told =
  | { readonly kind: 'progress'; readonly done: number; readonly total: number }
  | { readonly kind: 'survey'; readonly survey: Survey<number> }
  | { readonly kind: 'failed'; readonly input: boolean; readonly message: string }
