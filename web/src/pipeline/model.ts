/** What the browser must know of a model; `gliomask web build` writes it from `model.json`. */

import type { Sequence } from './sequences'

export type Region = 'WT' | 'TC' | 'ET'
export const REGIONS: readonly Region[] = ['WT', 'TC', 'ET']

export interface Model {
  readonly name: string
  readonly title: string
  readonly gliomask: string
  readonly inputs: readonly Sequence[]
  readonly mayMiss: readonly Sequence[]
  readonly halo: number
  readonly multiple: number
  readonly neighbours: number
  readonly planes: readonly ('axial' | 'coronal' | 'sagittal')[]
  readonly normalisation: string
  readonly outputs: readonly string[]
  readonly postprocess: string
  readonly coreRule: { readonly enhancingShare: number; readonly coreProbability: number } | null
  readonly enhancementRule: { readonly probability: number; readonly seedMl: number } | null
  readonly quality: Readonly<Record<Region, { readonly intercept: number; readonly slope: number; readonly below: number; readonly above: number }>> | null
  readonly graph: { readonly file: string; readonly sha256: string; readonly bytes: number }
  /** The same network in eight bits, and the largest mean difference from the golden probabilities that it may show. */
  readonly int8: { readonly file: string; readonly sha256: string; readonly bytes: number; readonly tolerance: number } | null
  /** Float32 values of `file`: the input batch, then the probabilities. */
  readonly golden: {
    readonly file: string
    readonly sha256: string
    readonly input: readonly number[]
    readonly output: readonly number[]
    readonly tolerance: number
  }
  /** The average brain, see `Outline`. */
  readonly outline: { readonly file: string; readonly sha256: string; readonly shape: readonly [number, number, number]; readonly mm: number }
  readonly licence: string
  readonly attribution: readonly string[]
}
