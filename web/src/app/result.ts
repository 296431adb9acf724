/** A result of the browser's own pipeline in the viewer, where it can be corrected and downloaded. */

import '../viewer/viewer.css'

import { correctedCase } from '../edit/saving'
import { type Save, Tools } from '../edit/tools'
import { type Affine, type Grid, type Triple, voxelMl } from '../pipeline/grid'
import { readNifti } from '../pipeline/nifti'
import { type Amount, measure } from '../pipeline/results'
import { PAPER_ORDER, type Sequence } from '../pipeline/sequences'
import { text } from '../text/en'
import { download } from '../viewer/dom'
import type { Exam, Scan } from '../viewer/exam'
import { openViewer, type Viewer } from '../viewer/viewer'
import type { Done } from '../worker/messages'
import { correctedFiles } from './corrected'

/** A result on the page. */
export interface Shown {
  readonly viewer: Viewer | null
  /** The files of the label map as it was corrected, by name; null where nothing was. */
  readonly corrected: () => Promise<Map<string, Blob>> | null
}

/**
 * Shows a result over its scans.
 *
 * @param edited called whenever the label map has changed, with its volumes; null where it is as it was made.
 */
export async function showResult(
  root: HTMLElement,
  caseId: string,
  files: ReadonlyMap<Sequence, File>,
  done: Done,
  edited: (volumes: readonly Amount[] | null) => void,
): Promise<Shown> {
  const scans = new Map<Sequence, Scan>()
  let header: Uint8Array | null = null
  for (const sequence of PAPER_ORDER) {
    const file = files.get(sequence)
    if (!file) continue
    const read = await readNifti(file.name, file)
    // The result lies on the grid of the first sequence, and is written with its header.
    header ??= read.header
    scans.set(sequence, { name: read.name, grid: read.grid, values: read.values })
  }
  const grid: Grid = { shape: [...done.shape] as Triple, affine: done.affine.map((row) => [...row]) as unknown as Affine }
  const segmentation = { name: `${caseId}_seg.nii.gz`, grid, values: done.result.labels.slice(), header: header ?? new Uint8Array() }
  const expected = Object.entries(done.result.estimates ?? {}).map(([region, one]) => ({ region, dice: one.dice, low: one.low, high: one.high }))
  const facts = { model: '', flags: done.result.flags.map((flag) => flag.message), expected }
  const exam: Exam = { id: caseId, title: caseId, scans, segmentation, reference: null, maps: [], facts }
  const viewer = await openViewer(root, [exam])
  root.dataset['ready'] = 'true'
  if (!viewer) return { viewer, corrected: () => null }
  const { correction } = new Tools(viewer, segmentation, saver(caseId, files))
  const changed = correction.onChange
  correction.onChange = () => {
    changed()
    edited(correction.moved().length ? measure(segmentation.values, voxelMl(grid)) : null)
  }
  return { viewer, corrected: () => (correction.moved().length ? correctedFiles(caseId, done, correction) : null) }
}

function saver(caseId: string, files: ReadonlyMap<Sequence, File>): Save {
  return async (correction, who) => {
    const about = { caseId, who, when: new Date().toISOString(), tool: 'gliomask in the browser', original: correction.map.name }
    const name = `${caseId}_correction.zip`
    download(name, await correctedCase(correction, about, files))
    return text.savedAs(name)
  }
}
