/** The page of `gliomask view`: reads what is in the page, shows it, and keeps corrections. */

import '../viewer/viewer.css'

import { gzipSync } from 'fflate'

import { correctedCase } from '../edit/saving'
import { type Save, Tools } from '../edit/tools'
import type { Sequence } from '../pipeline/sequences'
import { text } from '../text/en'
import { download, make } from '../viewer/dom'
import { openViewer } from '../viewer/viewer'
import { fileOf, readExam } from './files'
import type { Manifest, ManifestExam } from './manifest'

/** What `gliomask view` (folder, error) and `gliomask serve` (number, message, hint) answer to a correction. */
interface Answer {
  readonly folder?: string
  readonly number?: number
  readonly error?: string
  readonly message?: string
  readonly hint?: string
}

/** Letters of base64 that are made at a time: a call takes only so many arguments. */
const CHUNK = 0x8000

const root = document.getElementById('view') as HTMLElement
const status = make('p', { textContent: text.loading })
status.setAttribute('role', 'status')
root.append(status)
start().catch((failed: unknown) => {
  const message = make('p', { className: 'error', textContent: text.notRead(failed instanceof Error ? failed.message : String(failed)) })
  message.setAttribute('role', 'alert')
  root.replaceChildren(message)
})

async function start(): Promise<void> {
  const manifest = JSON.parse(document.getElementById('manifest')?.textContent ?? '') as Manifest
  const exams = []
  for (const exam of manifest.exams) {
    exams.push(await readExam(exam, () => (status.textContent += ' .')))
  }
  const viewer = await openViewer(root, exams)
  const [first, second] = exams
  const [given] = manifest.exams
  // Two visits are looked at together; each is corrected on its own page.
  if (viewer && first?.segmentation && given && !second) new Tools(viewer, first.segmentation, saver(manifest, given))
  document.body.dataset['ready'] = 'true'
}

function saver(manifest: Manifest, exam: ManifestExam): Save {
  return async (correction, who) => {
    if (manifest.corrections) {
      const labels = base64(gzipSync(correction.map.values, { level: 6 }))
      const body = JSON.stringify({ who, steps: correction.used(), labels })
      const response = await fetch(manifest.corrections, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body })
      // A proxy in front of the server answers in HTML.
      const answer = (await response.json().catch(() => ({}))) as Answer
      const { folder, number, error, message, hint } = answer
      if (!response.ok || (!folder && !number)) throw new Error(error ?? ([message, hint].filter(Boolean).join(' ') || `the server answered ${response.status}`))
      // The page of the job, of whose frame this may be the content, shows the correction.
      if (parent !== window) parent.postMessage('gliomask: corrected', location.origin)
      return folder ? text.saved(folder) : text.savedOnServer(number ?? 0)
    }
    const scans = new Map<Sequence, Blob>()
    for (const [sequence, file] of Object.entries(exam.scans)) scans.set(sequence as Sequence, await fileOf(file))
    const about = { caseId: exam.id, who, when: new Date().toISOString(), tool: `gliomask view ${manifest.gliomask}`, original: correction.map.name }
    const name = `${exam.id}_correction.zip`
    download(name, await correctedCase(correction, about, scans))
    return text.savedAs(name)
  }
}

function base64(bytes: Uint8Array): string {
  let letters = ''
  for (let n = 0; n < bytes.length; n += CHUNK) letters += String.fromCharCode(...bytes.subarray(n, n + CHUNK))
  return btoa(letters)
}
