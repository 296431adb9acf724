/** What can be downloaded: the label map, the volumes, the run record and a report. */

import type { Case } from './case'
import { voxelMl } from './grid'
import type { Model } from './model'
import { writeLabelMap } from './nifti'
import { REGION_LABELS } from './postprocess'
import type { Segmentation } from './segment'
import { PAPER_ORDER, SEQUENCE_TITLES, type Sequence } from './sequences'

export interface Amount {
  readonly kind: 'label' | 'region'
  readonly name: string
  readonly title: string
  readonly voxels: number
  readonly volumeMl: number
  readonly volumeMm3: number
}

const PARTS = [
  ['label', 'necrotic', 'necrotic and non-enhancing core', [1]],
  ['label', 'oedema', 'oedema', [2]],
  ['label', 'enhancing', 'enhancing tumour', [3]],
  ['region', 'WT', 'whole tumour', REGION_LABELS.WT],
  ['region', 'TC', 'tumour core', REGION_LABELS.TC],
  ['region', 'ET', 'enhancing tumour', REGION_LABELS.ET],
] as const

export const NOTICE = 'Research software, not a medical device.'

/** Counts the voxels of each label and region. */
export function measure(labels: Uint8Array, oneVoxelMl: number): Amount[] {
  const counts = [0, 0, 0, 0]
  for (const value of labels) counts[value] = (counts[value] as number) + 1
  const rounded = (value: number) => Math.round(value * 1000) / 1000
  return PARTS.map(([kind, name, title, members]) => {
    const voxels = members.reduce<number>((sum, member) => sum + (counts[member] as number), 0)
    return { kind, name, title, voxels, volumeMl: rounded(voxels * oneVoxelMl), volumeMm3: rounded(voxels * oneVoxelMl * 1000) }
  })
}

/** Returns the table of volumes as the command line writes it. */
export function volumesTsv(amounts: readonly Amount[]): string {
  const lines = amounts.map((a) => [a.kind, a.name, a.title, a.voxels, a.volumeMl.toFixed(3), a.volumeMm3.toFixed(3)].join('\t'))
  return ['kind\tname\ttitle\tvoxels\tvolume_ml\tvolume_mm3', ...lines].map((line) => `${line}\n`).join('')
}

/** Returns a label map as `.nii.gz` in the grid of the input; enhancing tumour is 4 as BraTS wrote it until 2021, 3 from 2023 on. */
export async function labelMapFile(header: Uint8Array, labels: Uint8Array, convention: 'brats2021' | 'brats2023'): Promise<Blob> {
  const codes = convention === 'brats2021' ? labels.map((value) => (value === 3 ? 4 : value)) : labels
  const stream = new Blob([writeLabelMap(header, codes)]).stream().pipeThrough(new CompressionStream('gzip'))
  return new Response(stream, { headers: { 'Content-Type': 'application/gzip' } }).blob()
}

/** On what the network ran. */
export interface Computing {
  readonly provider: 'webgpu' | 'wasm'
  readonly precision: 'fp32' | 'int8'
  readonly threads: number
  /** From the golden probabilities: the largest difference, in int8 the mean. */
  readonly goldenDifference: number
  /** Why the graphics card was not used, or not to the end; null where it was. */
  readonly notWebGpu: string | null
}

export interface RunFacts {
  readonly finished: string
  readonly browser: string
  readonly computing: Computing
  readonly convention: 'brats2021' | 'brats2023'
  /** Name and SHA-256 of each sequence's file. */
  readonly inputs: ReadonlyMap<Sequence, { readonly name: string; readonly sha256: string }>
}

/** Returns the run record as plain values for JSON. */
export function runRecord(one: Case, model: Model, result: Segmentation, facts: RunFacts): Record<string, unknown> {
  const { provider, precision, threads, goldenDifference, notWebGpu } = facts.computing
  const graph = precision === 'int8' && model.int8 ? model.int8 : model.graph
  return {
    command: 'browser',
    finished: facts.finished,
    environment: { gliomask: model.gliomask, browser: facts.browser, engine: 'onnxruntime-web', provider, not_webgpu: notWebGpu, precision, threads },
    case: one.id,
    model: { name: model.name, sha256: graph.sha256, golden_difference: goldenDifference },
    inputs: Object.fromEntries(facts.inputs),
    without: PAPER_ORDER.filter((sequence) => !one.volumes.has(sequence)),
    reordered: one.reordered,
    labels: facts.convention,
    postprocess: model.postprocess,
    removed_enhancement: result.removedEnhancement && {
      components: result.removedEnhancement.components,
      volume_ml: result.removedEnhancement.volumeMl,
    },
    core_rule: result.widenedCore,
    flags: result.flags,
    expected_dice: result.expectedDice,
    estimates: result.estimates,
    volumes: measure(result.labels, voxelMl(one.grid)),
    seconds: result.seconds,
    notice: NOTICE,
  }
}

/**
 * Returns a report as one HTML page without scripts and without anything from elsewhere.
 *
 * @param changes what a person changed in the label map, a sentence each; nothing is said of the Dice of a map that was changed.
 */
export function reportHtml(
  one: Pick<Case, 'id' | 'grid'>,
  model: Pick<Model, 'name' | 'title' | 'gliomask'>,
  result: Pick<Segmentation, 'labels' | 'flags' | 'estimates'>,
  facts: RunFacts,
  changes: readonly string[] = [],
): string {
  const rows = measure(result.labels, voxelMl(one.grid)).map((a) => `<tr><td>${a.name}</td><td>${a.title}</td><td>${a.volumeMl.toFixed(3)}</td></tr>`)
  const flags = result.flags.map((flag) => `<li><b>${escaped(flag.name)}</b>: ${escaped(flag.message)}</li>`)
  const inputs = [...facts.inputs].map(([sequence, file]) => `<li>${SEQUENCE_TITLES[sequence]}: ${escaped(file.name)}</li>`)
  const dice = Object.entries((changes.length ? null : result.estimates) ?? {}).map(([region, e]) => `<li>${region}: ${e.dice} (${e.low} to ${e.high})</li>`)
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escaped(one.id)}: tumour volumes</title>
<style>body{font:16px/1.5 sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}td,th{text-align:left;padding:.2rem 1rem .2rem 0}</style>
</head>
<body>
<h1>${escaped(one.id)}</h1>
<p>${NOTICE}</p>
<h2>Volumes</h2>
<table><thead><tr><th>Part</th><th>Meaning</th><th>Volume, ml</th></tr></thead><tbody>${rows.join('\n')}</tbody></table>
${changes.length ? `<h2>Corrected by hand</h2>\n<ul>${changes.map((change) => `<li>${escaped(change)}</li>`).join('\n')}</ul>` : ''}
<h2>What looks wrong</h2>
${flags.length ? `<ul>${flags.join('\n')}</ul>` : '<p>Nothing was found.</p>'}
<h2>Dice to be expected</h2>
${dice.length ? `<ul>${dice.join('\n')}</ul>` : `<p>It cannot be said for ${changes.length ? 'a label map that was corrected' : 'such scans'}.</p>`}
<h2>Made from</h2>
<ul>${inputs.join('\n')}</ul>
<p>Model ${escaped(model.title)} (${escaped(model.name)}), gliomask ${escaped(model.gliomask)}, in the browser, ${escaped(facts.finished)}.</p>
</body>
</html>
`
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`)
}
