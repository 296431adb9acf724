/** Reads the files of a page that `gliomask view` made, from the page itself or from its server, into exams. */

import { InputError } from '../pipeline/errors'
import { readNifti } from '../pipeline/nifti'
import { PAPER_ORDER, type Sequence } from '../pipeline/sequences'
import { text } from '../text/en'
import type { Exam, LabelMap, Scan, ValueMap } from '../viewer/exam'
import type { LabelFile, ManifestExam, PageFile } from './manifest'

/** Returns the bytes of a file of the page. */
export async function fileOf({ file, name, url }: PageFile): Promise<Blob> {
  const inside = document.getElementById(`file-${file}`)
  if (inside) return new Blob([decoded(inside.textContent ?? '')])
  const response = await fetch(url ?? `files/${file}`)
  if (!response.ok) throw new InputError(text.notHandedOut(name, response.status))
  return response.blob()
}

/** Reads an exam. */
export async function readExam(given: ManifestExam, progress: () => void): Promise<Exam> {
  const scans = new Map<Sequence, Scan>()
  for (const sequence of PAPER_ORDER) {
    const file = given.scans[sequence]
    if (!file) continue
    const { name, grid, values } = await readNifti(file.name, await fileOf(file))
    scans.set(sequence, { name, grid, values })
    progress()
  }
  const maps: ValueMap[] = []
  for (const file of given.maps) {
    const { grid, values } = await readNifti(file.name, await fileOf(file))
    maps.push({ title: file.title, grid, values: Uint8Array.from(values) })
    progress()
  }
  const segmentation = given.segmentation && (await readLabels(given.segmentation))
  const reference = given.reference && (await readLabels(given.reference))
  return { id: given.id, title: given.title, scans, segmentation, reference, maps, facts: given.facts }
}

async function readLabels(file: LabelFile): Promise<LabelMap> {
  const { name, grid, values, header } = await readNifti(file.name, await fileOf(file))
  return { name, grid, values: fromCodes(name, values, file.codes), header }
}

/** Returns the labels 0 to 3 of a label map on disk. */
export function fromCodes(name: string, values: Float32Array, codes: readonly number[]): Uint8Array<ArrayBuffer> {
  const labels = new Uint8Array(values.length)
  for (let v = 0; v < values.length; v++) {
    const label = values[v] === 0 ? 0 : codes.indexOf(values[v] as number)
    if (label < 0) throw new InputError(`${name}: holds the label ${values[v]}; known are ${codes.join(', ')}.`)
    labels[v] = label
  }
  return labels
}

function decoded(base64: string): Uint8Array<ArrayBuffer> {
  const letters = atob(base64.trim())
  const bytes = new Uint8Array(letters.length)
  for (let n = 0; n < letters.length; n++) bytes[n] = letters.charCodeAt(n)
  return bytes
}
