/** Series told apart, and which stands for each sequence; see `gliomask.io.dicom.survey`. */

import { InputError } from '../pipeline/errors'
import { PAPER_ORDER, type Sequence } from '../pipeline/sequences'
import type { Header } from './headers'
import { type Guess, recogniseSeries } from './recognise'
import type { Tags } from './tags'

/** As of `gliomask.io.dicom.survey`. */
const [SHARPER_MM, HEAD_MM] = [0.2, 100]
const STRUCK_OUT = '***'

/** One volume's worth of files. */
export interface Series<File> {
  /** SeriesNumber, with a letter where several share it. */
  readonly label: string
  /** With the words that identify the patient struck out. */
  readonly description: string
  readonly images: number
  readonly files: readonly File[]
  /** What it is taken for, and why. */
  readonly guess: Guess
}

export interface Survey<File> {
  readonly series: readonly Series<File>[]
  readonly chosen: ReadonlyMap<Sequence, Series<File>>
  /** What stands in the way, one sentence each. */
  readonly problems: readonly string[]
  readonly otherFiles: number
}

interface Read<File> {
  readonly file: File
  readonly header: Header
}

interface Part<File> extends Series<File> {
  readonly tags: Tags
  readonly thickestMm: number
  /** Of the volume's three sides. */
  readonly shortestMm: number
  readonly voxels: number
}

/** Tells series apart and chooses. */
export function surveyOf<File>(title: string, read: readonly Read<File>[], otherFiles: number): Survey<File> {
  if (!read.length) {
    throw new InputError(`${title}: no DICOM file found among ${otherFiles} files. Give the folder or zip that the scanner or archive exported.`)
  }
  const patients = new Set(read.map(({ header }) => header.tags.patient)).size
  if (patients > 1) {
    throw new InputError(`${title}: holds files of ${patients} patients (by PatientID and PatientName). Give one patient's files at a time.`)
  }
  const secret = new Set(read.flatMap(({ header }) => header.identifiers))
  const groups = grouped(withoutCopies(read), ({ header }) => header.tags.seriesUid)
  const parts = [...groups.values()].flatMap(volumes)
  parts.sort((a, b) => (numberOf(a) ?? Infinity) - (numberOf(b) ?? Infinity) || compare(uidOf(a), uidOf(b)))
  const texts = parts.map((part) => String(numberOf(part) ?? 0))
  const series = parts.map((part, n) => described(part, labelOf(texts, n), secret))
  const [chosen, problems] = choose(series)
  return { series, chosen, problems, otherFiles }
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0)
const numberOf = (part: readonly Read<unknown>[]) => part[0]?.header.tags.number ?? null
const uidOf = (part: readonly Read<unknown>[]) => part[0]?.header.tags.seriesUid ?? ''

function grouped<One, Key>(all: readonly One[], key: (one: One) => Key): Map<Key, One[]> {
  const groups = new Map<Key, One[]>()
  for (const one of all) {
    const group = groups.get(key(one))
    if (group) group.push(one)
    else groups.set(key(one), [one])
  }
  return groups
}

/** A file that is there twice counts once. */
function withoutCopies<File>(read: readonly Read<File>[]): Read<File>[] {
  const seen = new Set<string>()
  return read.filter(({ header }) => {
    const known = header.instanceUid !== '' && seen.has(header.instanceUid)
    seen.add(header.instanceUid)
    return !known
  })
}

/** The images of one series, parted by echo and kind where several lie at one place. */
function volumes<File>(images: readonly Read<File>[]): Read<File>[][] {
  const places = new Set(images.map(({ header: { place } }) => `${place.positionMm} ${place.directions}`))
  if (places.size === images.length) return [[...images]]
  return [...grouped(images, ({ header: { tags } }) => `${Math.round(tags.echoTimeMs ?? 0)} ${tags.imageType}`).values()]
}

function labelOf(texts: readonly string[], n: number): string {
  const text = texts[n] as string
  const before = texts.slice(0, n).filter((other) => other === text).length
  if (texts.filter((other) => other === text).length === 1) return text
  return text + (before < 26 ? String.fromCharCode(97 + before) : `.${before + 1}`)
}

function described<File>(part: readonly Read<File>[], label: string, secret: ReadonlySet<string>): Part<File> {
  const { tags, place } = (part[0] as Read<File>).header
  const images = part.reduce((sum, { header }) => sum + header.place.frames, 0)
  const description = (tags.description || tags.protocol).replace(/[\p{L}\p{N}]+/gu, (word) => (secret.has(word.toLowerCase()) ? STRUCK_OUT : word))
  const between = betweenMm(part) ?? place.thicknessMm
  const [betweenRows, betweenColumns] = place.spacingMm ?? []
  const sides = [[images, between], [place.rows, betweenRows], [place.columns, betweenColumns]] as const
  const thickestMm = Math.max(...sides.map(([, mm]) => mm ?? Infinity))
  const shortestMm = Math.min(...sides.map(([count, mm]) => count * (mm ?? 0)))
  const voxels = images * place.rows * place.columns
  return { label, description, images, files: part.map(({ file }) => file), guess: recogniseSeries(tags), tags, thickestMm, shortestMm, voxels }
}

/** The distance between slices along their normal; null where the headers do not tell. */
function betweenMm(part: readonly Read<unknown>[]): number | null {
  const [a, b, c, d, e, f] = part[0]?.header.place.directions ?? []
  if (part.length < 2 || f === undefined) return null
  const [x, y, z] = [a, b, c] as [number, number, number]
  const [u, v, w] = [d, e, f] as [number, number, number]
  const normal = [y * w - z * v, z * u - x * w, x * v - y * u]
  const along = part.map(({ header }) => normal.reduce((sum, n, axis) => sum + n * (header.place.positionMm?.[axis] ?? NaN), 0))
  const [lowest, highest] = along.reduce(([low, high], mm) => [Math.min(low, mm), Math.max(high, mm)], [Infinity, -Infinity] as [number, number])
  const between = (highest - lowest) / (part.length - 1)
  return Number.isFinite(between) && between > 0 ? between : null
}

function choose<File>(series: readonly Part<File>[]): [Map<Sequence, Series<File>>, string[]] {
  const chosen = new Map<Sequence, Part<File>>()
  const problems: string[] = []
  const guesses = guessesTogether(series)
  for (const sequence of PAPER_ORDER) {
    const rivals = series.filter((one) => guesses.get(one)?.sequence === sequence)
    const ranked = rivals.map((one) => [one, rank(one, guesses.get(one) as Guess)] as const).sort((a, b) => compareRanks(b[1], a[1]))
    const [first, second] = ranked
    if (!first) continue
    if (second && compareRanks(first[1], second[1]) === 0) {
      problems.push(`${sequence}: series ${rivals.map((one) => one.label).join(', ')} are equally good; choose one.`)
    } else {
      chosen.set(sequence, first[0])
    }
  }
  const studies = new Set([...chosen.values()].map((one) => one.tags.studyUid)).size
  if (studies > 1) {
    problems.push(`The series chosen come from ${studies} examinations (StudyInstanceUID); choose series of one.`)
    chosen.clear()
  }
  return [chosen, problems]
}

/** What each series is taken for, seen beside the others: a contrast agent that every header names tells nothing apart. */
function guessesTogether<File>(series: readonly Part<File>[]): Map<Part<File>, Guess> {
  const guesses = new Map(series.map((one) => [one, one.guess]))
  const byWords = series.some(({ guess }) => guess.sequence === 't1ce' && !guess.agentByHeader)
  if (!byWords || !series.every(({ tags }) => tags.modality !== 'MR' || tags.contrastAgent)) return guesses
  for (const one of series) {
    if (one.guess.sequence === 't1ce' && one.guess.agentByHeader) guesses.set(one, { ...one.guess, sequence: 't1', agentByHeader: false })
  }
  return guesses
}

/** More is better: named, agent by words, head covered, not reformatted, sharper, normalised, corrected for distortion, more voxels. */
function rank({ tags, thickestMm, shortestMm, voxels }: Part<unknown>, guess: Guess): number[] {
  const has = (kind: string) => Number(tags.imageType.includes(kind))
  const corrected = 2 * has('DIS3D') || has('DIS2D')
  const [named, agentByWords, asAcquired] = [Number(guess.named), -Number(guess.agentByHeader), -Number(guess.reformatted)]
  return [named, agentByWords, Number(shortestMm >= HEAD_MM), asAcquired, -Math.round(thickestMm / SHARPER_MM), has('NORM'), corrected, voxels]
}

function compareRanks(one: readonly number[], other: readonly number[]): number {
  const n = one.findIndex((value, at) => value !== other[at])
  return n < 0 ? 0 : (one[n] as number) - (other[n] as number)
}
