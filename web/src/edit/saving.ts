/** What is kept of a correction: the label map, and who changed what, when. */

import { strToU8, zipSync } from 'fflate'

import { voxelMl } from '../pipeline/grid'
import { labelMapFile } from '../pipeline/results'
import type { Sequence } from '../pipeline/sequences'
import type { Correction } from './history'

export const LABEL_NAMES = ['background', 'necrotic', 'oedema', 'enhancing'] as const

/** Who corrected, what, with what. */
export interface Circumstances {
  readonly caseId: string
  readonly who: string
  /** ISO 8601, UTC. */
  readonly when: string
  /** The program, with its version where it is known. */
  readonly tool: string
  /** Name of the label map that was corrected. */
  readonly original: string
}

/** Returns the provenance of a correction as plain values for JSON; the same fields as `gliomask.view.corrections` writes. */
export function provenance(correction: Correction, about: Circumstances): Record<string, unknown> {
  const oneMl = voxelMl(correction.map.grid)
  const ml = (voxels: number) => Math.round(voxels * oneMl * 1000) / 1000
  const before = [0, 0, 0, 0]
  for (const value of correction.original) before[value] = (before[value] as number) + 1
  const byLabel = (voxels: (label: number) => number) => Object.fromEntries([1, 2, 3].map((label) => [LABEL_NAMES[label], ml(voxels(label))]))
  return {
    correction_version: 1,
    case: about.caseId,
    who: about.who,
    when: about.when,
    tool: about.tool,
    original: about.original,
    labels: 'brats2021',
    changed: correction.moved().map(({ from, to, voxels, ml: amount }) => ({ from: LABEL_NAMES[from], to: LABEL_NAMES[to], voxels, ml: amount })),
    volumes_before_ml: byLabel((label) => before[label] ?? 0),
    volumes_after_ml: byLabel((label) => correction.voxels(label)),
    steps: correction.used(),
  }
}

/**
 * Returns a zip with one case as `gliomask train` reads it: the scans, the corrected label map (enhancing tumour is 4) and the provenance.
 *
 * @param scans the files as they were given, compressed or not.
 */
export async function correctedCase(correction: Correction, about: Circumstances, scans: ReadonlyMap<Sequence, Blob>): Promise<Blob> {
  const name = about.caseId.replace(/[^\w.-]/g, '_').replace(/^\.+/, '_')
  const inside: Record<string, [Uint8Array, { level: 0 }]> = {}
  const add = (ending: string, content: Uint8Array) => (inside[`${name}/${name}_${ending}`] = [content, { level: 0 }])
  for (const [sequence, file] of scans) {
    const content = new Uint8Array(await file.arrayBuffer())
    add(content[0] === 0x1f && content[1] === 0x8b ? `${sequence}.nii.gz` : `${sequence}.nii`, content)
  }
  const labels = await labelMapFile(correction.map.header, correction.map.values, 'brats2021')
  add('seg.nii.gz', new Uint8Array(await labels.arrayBuffer()))
  add('correction.json', strToU8(`${JSON.stringify(provenance(correction, about), null, 1)}\n`))
  return new Blob([zipSync(inside) as Uint8Array<ArrayBuffer>], { type: 'application/zip' })
}
