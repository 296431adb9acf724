/** The plain page round the pipeline: choose files, correct the sequences, segment, cancel, download. */

import { recognise } from '../pipeline/case'
import { isNiftiName, PAPER_ORDER, SEQUENCE_TITLES, type Sequence, stem } from '../pipeline/sequences'
import { isolate } from '../worker/isolation'
import type { Done, Progress } from '../worker/messages'
import { type Running, SegmentationFailed, segmentInWorker } from '../worker/client'
import { unpack } from '../worker/zip'
import { text } from '../text/en'
import type { Viewer } from '../viewer/viewer'

const element = <T extends HTMLElement>(id: string) => document.getElementById(id) as T
const state = element('state')
const error = element('error')
const run = element<HTMLButtonElement>('run')
const cancel = element<HTMLButtonElement>('cancel')
const bar = element<HTMLProgressElement>('progress')

let files: File[] = []
let running: Running | null = null
let viewer: Viewer | null = null

element<HTMLInputElement>('files').addEventListener('change', (event) => void choose([...((event.target as HTMLInputElement).files ?? [])]))
addEventListener('dragover', (event) => event.preventDefault())
addEventListener('drop', (event: DragEvent) => {
  event.preventDefault()
  void choose([...(event.dataTransfer?.files ?? [])])
})
run.addEventListener('click', () => void start())
cancel.addEventListener('click', () => running?.cancel())
void isolate().then((message) => {
  state.textContent = message
})

async function choose(given: File[]): Promise<void> {
  error.textContent = ''
  try {
    const all: File[] = []
    for (const file of given) all.push(...(/\.zip$/i.test(file.name) ? await unpack(file) : [file]))
    files = all.filter((file) => isNiftiName(file.name))
  } catch (failed) {
    error.textContent = failed instanceof Error ? failed.message : String(failed)
    files = []
  }
  const found = recognise(files)
  const field = element<HTMLFieldSetElement>('sequences')
  field.querySelectorAll('label').forEach((label) => label.remove())
  for (const sequence of PAPER_ORDER) field.append(chooser(sequence, found.files.get(sequence)))
  field.hidden = !files.length
  run.disabled = !files.length
}

function chooser(sequence: Sequence, chosen: File | undefined): HTMLLabelElement {
  const label = document.createElement('label')
  const select = document.createElement('select')
  select.dataset['sequence'] = sequence
  select.append(new Option(text.noSequence, ''))
  files.forEach((file, n) => select.append(new Option(file.name, String(n), false, file === chosen)))
  label.append(SEQUENCE_TITLES[sequence], select)
  return label
}

async function start(): Promise<void> {
  error.textContent = ''
  element('result').hidden = true
  viewer?.close()
  viewer = null
  const chosen = new Map<Sequence, File>()
  for (const select of document.querySelectorAll<HTMLSelectElement>('#sequences select')) {
    const file = select.value === '' ? undefined : files[Number(select.value)]
    if (file) chosen.set(select.dataset['sequence'] as Sequence, file)
  }
  const first = chosen.values().next().value
  if (!first) return
  const caseId = stem(first.name).replace(/[_-][^_-]*$/, '') || 'case'
  run.disabled = true
  cancel.hidden = bar.hidden = false
  running = segmentInWorker(caseId, chosen, show)
  try {
    const done = await running.done
    present(done)
    await look(caseId, chosen, done)
  } catch (failed) {
    const cancelled = failed instanceof SegmentationFailed && failed.cause === 'cancelled'
    state.textContent = cancelled ? text.cancelled : ''
    if (!cancelled) error.textContent = failed instanceof Error ? failed.message : String(failed)
  } finally {
    running = null
    run.disabled = false
    cancel.hidden = bar.hidden = true
  }
}

function show(now: Progress): void {
  state.textContent = text.progress(now.stage, now.secondsLeft)
  bar.value = now.stage === 'network' ? now.done / now.total : 0
}

function present(done: Done): void {
  const table = element<HTMLTableElement>('volumes')
  table.replaceChildren()
  for (const amount of done.volumes) {
    const row = table.insertRow()
    for (const text of [amount.name, amount.title, `${amount.volumeMl.toFixed(3)} ml`]) row.insertCell().textContent = text
  }
  const item = (text: string) => Object.assign(document.createElement('li'), { textContent: text })
  element('flags').replaceChildren(...done.result.flags.map((flag) => item(flag.message)))
  element('downloads').replaceChildren(
    ...[...done.downloads].map(([name, blob]) => {
      const link = Object.assign(document.createElement('a'), { href: URL.createObjectURL(blob), download: name, textContent: name })
      const line = document.createElement('li')
      line.append(link)
      return line
    }),
  )
  const seconds = Object.values(done.result.seconds).reduce((sum, one) => sum + one, 0)
  state.textContent = text.done(seconds, done.threads)
  element('result').hidden = false
}

/** Shows the result over the scans; the viewer is loaded only now. */
async function look(caseId: string, files: ReadonlyMap<Sequence, File>, done: Done): Promise<void> {
  const { showResult } = await import('./result')
  const place = document.createElement('div')
  element('view').replaceChildren(place)
  viewer = await showResult(place, caseId, files, done)
}
