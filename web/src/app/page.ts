/** The plain page round the pipeline: choose files, correct the sequences, segment, cancel, download. */

import { PAPER_ORDER, SEQUENCE_TITLES, type Sequence } from '../pipeline/sequences'
import { isolate } from '../worker/isolation'
import type { Wanted } from '../worker/choose'
import type { Done, Progress } from '../worker/messages'
import { SegmentationFailed, segmentInWorker } from '../worker/client'
import { text } from '../text/en'
import type { Amount } from '../pipeline/results'
import { device, lacks } from './device'
import { type Dropped, dropped, ofFolder } from './dropped'
import type { Shown } from './result'
import { type Candidate, type Given, NOTHING, sortOut } from './given'

const element = <T extends HTMLElement>(id: string) => document.getElementById(id) as T
const state = element('state')
const error = element('error')
const run = element<HTMLButtonElement>('run')
const cancel = element<HTMLButtonElement>('cancel')
const bar = element<HTMLProgressElement>('progress')
const compute = element<HTMLSelectElement>('compute')
/** Why a card is not used, where a person expects that. */
const EXPECTED: readonly string[] = [text.noWebGpu, text.noJspi, text.noCard, text.softwareCard, text.notWanted]

const { title } = document
let given: Given = NOTHING
/** Ends what is being done; null where nothing is. */
let stop: (() => void) | null = null
let shown: Shown | null = null

const filesOf = (event: Event) => [...((event.target as HTMLInputElement).files ?? [])]
element('files').addEventListener('change', (event) => void choose(async () => ({ title: text.theseFiles, files: filesOf(event) })))
element('folder').addEventListener('change', (event) => void choose(async () => ofFolder(filesOf(event))))
addEventListener('dragover', (event) => event.preventDefault())
addEventListener('drop', (event: DragEvent) => {
  event.preventDefault()
  const transfer = event.dataTransfer
  // What was dropped is asked for now: after the event it is gone.
  const files = transfer ? dropped(transfer) : Promise.resolve({ title: text.theseFiles, files: [] })
  void choose(() => files)
})
run.addEventListener('click', () => void start())
cancel.addEventListener('click', () => stop?.())
compute.closest('p')!.hidden = !('gpu' in navigator)
void isolate().then((message) => note([message, ...lacks(device())]))
document.addEventListener('visibilitychange', () => {
  if (document.hidden && stop) note([text.background])
})

let choices = 0

async function choose(what: () => Promise<Dropped>): Promise<void> {
  const mine = ++choices
  error.textContent = ''
  run.disabled = true
  let sorted = NOTHING
  let wrong = ''
  try {
    sorted = await sortOut(await what(), (done, total) => {
      // A case that is being segmented, or a later choice, has the line.
      if (mine === choices && !stop) state.textContent = text.readingHeaders(done, total)
    })
    if (!sorted.candidates.length) wrong = text.nothingGiven
  } catch (failed) {
    wrong = messageOf(failed)
  }
  // What was given meanwhile counts.
  if (mine !== choices) return
  given = sorted
  error.textContent = wrong
  if (!stop) state.textContent = ''
  const field = element<HTMLFieldSetElement>('sequences')
  field.querySelectorAll('label').forEach((label) => label.remove())
  for (const sequence of PAPER_ORDER) field.append(chooser(sequence, given.chosen.get(sequence)))
  const notes = element('notes')
  notes.replaceChildren(...given.notes.map((note) => Object.assign(document.createElement('li'), { textContent: note })))
  field.append(notes)
  field.hidden = !given.candidates.length
  run.disabled = !given.candidates.length || stop !== null
}

function chooser(sequence: Sequence, chosen: Candidate | undefined): HTMLLabelElement {
  const label = document.createElement('label')
  const select = document.createElement('select')
  select.dataset['sequence'] = sequence
  select.append(new Option(text.noSequence, ''))
  given.candidates.forEach((one, n) => select.append(new Option(one.title, String(n), false, one === chosen)))
  label.append(SEQUENCE_TITLES[sequence], select)
  return label
}

/** The candidates that stand beside the sequences. */
function selected(): Map<Sequence, Candidate> {
  const chosen = new Map<Sequence, Candidate>()
  for (const select of document.querySelectorAll<HTMLSelectElement>('#sequences select')) {
    const one = select.value === '' ? undefined : given.candidates[Number(select.value)]
    if (one) chosen.set(select.dataset['sequence'] as Sequence, one)
  }
  return chosen
}

/** Converts what is not NIfTI yet, one series after the other, each in a worker of its own. */
async function opened(chosen: ReadonlyMap<Sequence, Candidate>, dicom: boolean): Promise<Map<Sequence, File>> {
  const files = new Map<Sequence, File>()
  let stopped = false
  for (const [sequence, one] of chosen) {
    if (dicom) state.textContent = text.converting(one.title)
    stop = () => (stopped = true)
    const conversion = await one.open()
    stop = conversion.cancel
    if (stopped) conversion.cancel()
    files.set(sequence, await conversion.done)
  }
  return files
}

async function start(): Promise<void> {
  error.textContent = ''
  element('result').hidden = true
  shown?.viewer?.close()
  shown = null
  // Other files may be given while these are segmented.
  const { dicom, caseId: idOf } = given
  const chosen = selected()
  if (!chosen.size) {
    error.textContent = text.chooseOne
    return
  }
  run.disabled = true
  cancel.hidden = bar.hidden = false
  try {
    const files = await opened(chosen, dicom)
    const caseId = idOf([...files.values()][0]?.name ?? '')
    const running = segmentInWorker(caseId, files, compute.value as Wanted, show)
    stop = running.cancel
    const done = await running.done
    present(done)
    await look(caseId, files, done)
  } catch (failed) {
    const cancelled = failed instanceof Error && ((failed instanceof SegmentationFailed && failed.cause === 'cancelled') || failed.name === 'AbortError')
    state.textContent = cancelled ? text.cancelled : ''
    if (!cancelled) error.textContent = messageOf(failed)
  } finally {
    stop = null
    run.disabled = !given.candidates.length
    cancel.hidden = bar.hidden = true
    if (element('result').hidden) document.title = title
  }
}

function messageOf(failed: unknown): string {
  return failed instanceof Error ? failed.message : String(failed)
}

/** Tells what a person should know beside what is being done. */
function note(sentences: readonly string[]): void {
  const now = [...element('device').children].map((line) => line.textContent)
  const lines = sentences.filter((one) => one && !now.includes(one)).map((one) => Object.assign(document.createElement('li'), { textContent: one }))
  element('device').append(...lines)
}

function show(now: Progress): void {
  state.textContent = text.progress(now.stage, now.secondsLeft, now.onCard)
  bar.value = now.stage === 'network' ? now.done / now.total : 0
  // Seen where the page is one of many tabs.
  document.title = text.titleProgress(Math.round(100 * bar.value))
}

/** Writes the volumes of the label map. */
function tabulate(volumes: readonly Amount[]): void {
  const table = element<HTMLTableElement>('volumes')
  table.replaceChildren()
  for (const amount of volumes) {
    const row = table.insertRow()
    for (const cell of [amount.name, amount.title, `${amount.volumeMl.toFixed(3)} ml`]) row.insertCell().textContent = cell
  }
}

function present(done: Done): void {
  tabulate(done.volumes)
  const item = (text: string) => Object.assign(document.createElement('li'), { textContent: text })
  element('flags').replaceChildren(...done.result.flags.map((flag) => item(flag.message)))
  element('downloads').replaceChildren(
    ...[...done.downloads].map(([name, blob]) => {
      const link = Object.assign(document.createElement('a'), { href: URL.createObjectURL(blob), download: name, textContent: name })
      link.addEventListener('click', (event) => {
        const corrected = shown?.corrected()
        if (!corrected) return
        event.preventDefault()
        downloadCorrected(corrected, name).catch((failed: unknown) => (error.textContent = messageOf(failed)))
      })
      const line = document.createElement('li')
      line.append(link)
      return line
    }),
  )
  const seconds = Object.values(done.result.seconds).reduce((sum, one) => sum + one, 0)
  const { provider, threads, notWebGpu } = done.about.facts.computing
  state.textContent = provider === 'webgpu' ? text.doneOnCard(seconds) : text.done(seconds, threads)
  // Who has no card, or did not want it, need not be told.
  if (notWebGpu !== null && !EXPECTED.includes(notWebGpu)) note([text.cardNotUsed(notWebGpu)])
  document.title = text.titleDone
  element('edited').textContent = ''
  element('result').hidden = false
}

/** Downloads the corrected file in the place of the one that was asked for. */
async function downloadCorrected(corrected: Promise<Map<string, Blob>>, name: string): Promise<void> {
  const { download } = await import('../viewer/dom')
  const ending = name.slice(name.lastIndexOf('_'))
  for (const [other, blob] of await corrected) if (other.endsWith(ending)) download(other, blob)
}

/** Shows the result over the scans; the viewer is loaded only now. */
async function look(caseId: string, files: ReadonlyMap<Sequence, File>, done: Done): Promise<void> {
  const { showResult } = await import('./result')
  const place = document.createElement('div')
  element('view').replaceChildren(place)
  shown = await showResult(place, caseId, files, done, (volumes) => {
    tabulate(volumes ?? done.volumes)
    element('edited').textContent = volumes ? text.correctedDownloads : ''
  })
}
