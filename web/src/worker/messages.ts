/** What the page and the worker say to each other. */

import type { Model } from '../pipeline/model'
import type { Amount, RunFacts } from '../pipeline/results'
import type { Segmentation } from '../pipeline/segment'
import type { Sequence } from '../pipeline/sequences'
import type { Wanted } from './choose'

export interface Job {
  readonly kind: 'segment'
  readonly caseId: string
  readonly files: ReadonlyMap<Sequence, File>
  /** On what the network is to run. */
  readonly wanted: Wanted
  /** Where the application lies, ending in `/`. */
  readonly base: string
}

export interface Progress {
  readonly kind: 'progress'
  readonly stage: 'reading' | 'model' | 'network'
  readonly done: number
  readonly total: number
  /** True while the network runs on the graphics card. */
  readonly onCard: boolean
  /** Seconds since the network began; 0 before. */
  readonly seconds: number
  /** Seconds left, by the pace so far; null before there is one. */
  readonly secondsLeft: number | null
}

export interface Done {
  readonly kind: 'done'
  readonly result: Segmentation
  readonly volumes: readonly Amount[]
  readonly shape: readonly [number, number, number]
  /** Voxel index to RAS millimetres, the first three rows. */
  readonly affine: readonly (readonly number[])[]
  /** What a report says of its making. */
  readonly about: { readonly model: Pick<Model, 'name' | 'title' | 'gliomask'>; readonly facts: RunFacts }
  /** What can be downloaded, by file name. */
  readonly downloads: ReadonlyMap<string, Blob>
}

export interface Failed {
  readonly kind: 'failed'
  /** `input`: the scans; `model`: the model's files or the engine; `memory`: too little of it; `other`: a fault of the program. */
  readonly cause: 'input' | 'model' | 'memory' | 'other'
  readonly message: string
}

export type Answer = Progress | Done | Failed
