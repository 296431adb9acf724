/** What can be downloaded once a person has changed the label map: everything is of the map as it is now. */

import type { Correction } from '../edit/history'
import { LABEL_NAMES } from '../edit/saving'
import { voxelMl } from '../pipeline/grid'
import { labelMapFile, measure, reportHtml, volumesTsv } from '../pipeline/results'
import { text } from '../text/en'
import type { Done } from '../worker/messages'

/** Returns the files by name, each with `corrected` in its name; the run record says what was changed. */
export async function correctedFiles(caseId: string, done: Pick<Done, 'result' | 'about' | 'downloads'>, correction: Correction): Promise<Map<string, Blob>> {
  const { header, grid } = correction.map
  const labels = correction.map.values.slice()
  const amounts = measure(labels, voxelMl(grid))
  const moved = correction.moved().map(({ from, to, voxels, ml }) => ({ from: LABEL_NAMES[from], to: LABEL_NAMES[to], voxels, ml }))
  const { model, facts } = done.about
  const changes = moved.map(({ from, to, voxels, ml }) => text.moved(String(from), String(to), voxels, ml))
  const report = reportHtml({ id: caseId, grid }, model, { ...done.result, labels }, facts, changes)
  const written = done.downloads.get(`${caseId}_run.json`)
  if (!written) throw new Error(`${caseId}: there is no run record of the result.`)
  const record = JSON.parse(await written.text()) as Record<string, unknown>
  // What Dice is to be expected was said of the network's own map.
  const json = JSON.stringify({ ...record, corrected: moved, expected_dice: null, estimates: null, volumes: amounts }, null, 1)
  const file = (content: string, type: string) => new Blob([content], { type: `${type};charset=utf-8` })
  return new Map([
    [`${caseId}_corrected_seg.nii.gz`, await labelMapFile(header, labels, facts.convention)],
    [`${caseId}_corrected_volumes.tsv`, file(volumesTsv(amounts), 'text/tab-separated-values')],
    [`${caseId}_corrected_run.json`, file(`${json}\n`, 'application/json')],
    [`${caseId}_corrected_report.html`, file(report, 'text/html')],
  ])
}
