/** What a person gave, sorted by sequence: NIfTI files, or DICOM series that are converted when they are needed. */

import type { Conversion } from '../dicom/convert'
import { recognise } from '../pipeline/case'
import { isNiftiName, type Sequence, stem } from '../pipeline/sequences'
import { text } from '../text/en'
import { isZip, unpack } from '../worker/zip'
import type { Dropped } from './dropped'

/** What may be one sequence of the patient. */
export interface Candidate {
  readonly title: string
  /** The NIfTI file, or its making, which can be cancelled. */
  readonly open: () => Promise<Conversion>
}

export interface Given {
  readonly candidates: readonly Candidate[]
  readonly chosen: ReadonlyMap<Sequence, Candidate>
  /** What a person should know about the choice. */
  readonly notes: readonly string[]
  /** Whether the candidates are DICOM series. */
  readonly dicom: boolean
  /** How results are called. */
  readonly caseId: (first: string) => string
}

export const NOTHING: Given = { candidates: [], chosen: new Map(), notes: [], dicom: false, caseId: () => 'case' }

/** Unpacks zips, tells NIfTI files from DICOM, and recognises sequences. */
export async function sortOut({ title, files }: Dropped, progress: (done: number, total: number) => void): Promise<Given> {
  const all: File[] = []
  for (const file of files) all.push(...(isZip(file) ? await unpack(file) : [file]))
  const scans = all.filter((file) => isNiftiName(file.name))
  if (scans.length) return ofFiles(scans, all.length - scans.length)
  return all.length ? ofSeries(title, all, progress) : NOTHING
}

function ofFiles(files: readonly File[], others: number): Given {
  const found = recognise(files)
  const candidates = new Map(files.map((file) => [file, { title: file.name, open: async () => ({ done: Promise.resolve(file), cancel: () => undefined }) }]))
  const chosen = [...found.files].map(([sequence, file]) => [sequence, candidates.get(file) as Candidate] as const)
  const notes = [...found.several].map(([sequence, several]) => text.severalFiles(sequence, several.length))
  if (others) notes.push(text.leftAlone(others))
  const caseId = (first: string) => stem(first).replace(/[_-][^_-]*$/, '') || 'case'
  return { candidates: [...candidates.values()], chosen: new Map(chosen), notes, dicom: false, caseId }
}

async function ofSeries(title: string, files: readonly File[], progress: (done: number, total: number) => void): Promise<Given> {
  const { convertSeries, surveyFiles } = await import('../dicom/convert')
  const survey = await surveyFiles(title, files, progress)
  const candidates = new Map(
    survey.series.map((one) => {
      const title = text.series(one.label, one.description, one.images)
      return [one, { title, open: async () => convertSeries(one) }] as const
    }),
  )
  const chosen = [...survey.chosen].map(([sequence, one]) => [sequence, candidates.get(one) as Candidate] as const)
  const notes = [...survey.problems, ...survey.series.map((one) => text.takenFor(one.label, one.description, one.guess.reason))]
  if (survey.otherFiles) notes.push(text.leftAlone(survey.otherFiles))
  return { candidates: [...candidates.values()], chosen: new Map(chosen), notes, dicom: true, caseId: () => 'case' }
}
