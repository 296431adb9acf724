/** Headers of DICOM files as plain values, read by dicom-parser; see `gliomask.io.dicom.headers`. */

import dicomParser from 'dicom-parser'

import { InputError } from '../pipeline/errors'
import type { Tags } from './tags'
import table from './words.json'

type DataSet = dicomParser.DataSet

/** Where one image lies, so far as a header says it. */
export interface Place {
  readonly rows: number
  readonly columns: number
  readonly frames: number
  readonly positionMm: readonly number[] | null
  readonly directions: readonly number[] | null
  readonly spacingMm: readonly number[] | null
  readonly thicknessMm: number | null
}

export interface Header {
  readonly tags: Tags
  readonly place: Place
  readonly instanceUid: string
  /** Words that tell who the patient is, in lower case. */
  readonly identifiers: readonly string[]
}

const PREFIX_BYTES = 132
/** Headers are shorter as a rule; those of enhanced objects, with groups for each frame, have up to some megabytes. */
const [HEAD_BYTES, MAX_HEADER_BYTES] = [128 << 10, 64 << 20]
const DIRECTORY = '1.2.840.10008.1.3.10'
const DEFLATED = '1.2.840.10008.1.2.1.99'
const [IMPLICIT, EXPLICIT] = ['1.2.840.10008.1.2', '1.2.840.10008.1.2.1'] as const
const PIXELS = 'x7fe00010'
const [SHARED, PER_FRAME] = ['x52009229', 'x52009230'] as const
/** PatientName, PatientID, PatientBirthDate, OtherPatientNames, PatientBirthName, PatientMotherBirthName, AccessionNumber, ReferringPhysicianName. */
const IDENTIFIERS = ['x00100010', 'x00100020', 'x00100030', 'x00101001', 'x00101005', 'x00101060', 'x00080050', 'x00080090'] as const

/** Reads a file's header; null for what is no DICOM file, or a table of contents. */
export async function readDicomHeader(file: File): Promise<Header | null> {
  const head = new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer())
  const syntax = prefixed(head) ? null : bareSyntax(head)
  if (!prefixed(head) && !syntax) return null
  const data = parsed(head, syntax) ?? parsed(new Uint8Array(await file.slice(0, MAX_HEADER_BYTES).arrayBuffer()), syntax)
  if (!data) throw new InputError(`${file.name}: cannot be read as DICOM: the header is truncated or corrupt. Copy the file again from its source.`)
  if (text(data, 'x00020010') === DEFLATED) throw new InputError(`${file.name}: is a deflated DICOM file. Use the command line: gliomask segment FOLDER.`)
  if (text(data, 'x00020002') === DIRECTORY) return null
  for (const [tag, keyword] of [['x00080016', 'SOPClassUID'], ['x0020000e', 'SeriesInstanceUID']] as const) {
    if (!text(data, tag)) throw new InputError(`${file.name}: ${keyword} is missing: the file is cut short or no valid DICOM. Copy the file again from its source.`)
  }
  return { tags: tagsOf(data, syntax), place: placeOf(data), instanceUid: text(data, 'x00080018'), identifiers: IDENTIFIERS.flatMap((tag) => wordsOf(text(data, tag))) }
}

function prefixed(head: Uint8Array): boolean {
  return String.fromCharCode(...head.subarray(PREFIX_BYTES - 4, PREFIX_BYTES)) === 'DICM'
}

/** The transfer syntax of a data set without preamble and prefix, as some exports are: it begins with an element of group 0008. */
function bareSyntax(head: Uint8Array): string | null {
  if (head.length < PREFIX_BYTES) return null
  const view = new DataView(head.buffer, head.byteOffset)
  const element = view.getUint16(2, true)
  if (view.getUint16(0, true) !== 8 || !(element <= 1 || (element >= 5 && element < 0x19))) return null
  const explicit = /^[A-Z]{2}$/.test(String.fromCharCode(...head.subarray(4, 6)))
  const length = explicit ? view.getUint16(6, true) : view.getUint32(4, true)
  if (length > 1024 || length % 2 || length + 12 > head.length) return null
  const group = view.getUint16(8 + length, true)
  return group >= 8 && group < 0x30 ? (explicit ? EXPLICIT : IMPLICIT) : null
}

function parsed(bytes: Uint8Array, syntax: string | null): DataSet | null {
  try {
    const data = dicomParser.parseDicom(bytes, { untilTag: PIXELS, ...(syntax ? { TransferSyntaxUID: syntax } : {}) })
    return data.elements[PIXELS] || text(data, 'x0020000e') ? data : null
  } catch {
    return null
  }
}

function tagsOf(data: DataSet, syntax: string | null): Tags {
  const anywhere = (tag: string) => found(data, tag)
  return {
    seriesUid: text(data, 'x0020000e'),
    studyUid: text(data, 'x0020000d'),
    patient: `${text(data, 'x00100020')}\n${text(data, 'x00100010').replaceAll('^', ' ').trim()}`.toUpperCase(),
    transferSyntax: syntax ?? text(data, 'x00020010'),
    sopClass: text(data, 'x00080016'),
    modality: text(data, 'x00080060'),
    samplesPerPixel: data.uint16('x00280002') || 1,
    photometric: text(data, 'x00280004'),
    number: numberOf(data, 'x00200011'),
    description: text(data, 'x0008103e'),
    protocol: text(data, 'x00181030'),
    sequenceName: text(data, 'x00180024') || text(data, 'x00189005'),
    imageType: listOf(anywhereText(data, 'x00089007') || text(data, 'x00080008')),
    scanningSequence: text(data, 'x00180020') ? listOf(text(data, 'x00180020')) : enhancedSequence(data),
    acquisitionContrast: anywhereText(data, 'x00089209'),
    repetitionTimeMs: anywhere('x00180080'),
    echoTimeMs: anywhere('x00180081') ?? anywhere('x00189082'),
    inversionTimeMs: anywhere('x00180082') ?? anywhere('x00189079'),
    contrastAgent: contrastAgent(data),
    bValue: anywhere('x00189087'),
  }
}

/** EchoPulseSequence, InversionRecovery and EchoPlanarPulseSequence of enhanced objects (PS3.3, C.8.13.1) as ScanningSequence spells them. */
function enhancedSequence(data: DataSet): string[] {
  const pulse = { SPIN: ['SE'], GRADIENT: ['GR'], BOTH: ['SE', 'GR'] }[anywhereText(data, 'x00189008')] ?? []
  return [...pulse, ...(anywhereText(data, 'x00189009') === 'YES' ? ['IR'] : []), ...(anywhereText(data, 'x00189018') === 'YES' ? ['EP'] : [])]
}

function contrastAgent(data: DataSet): string {
  const listed = data.elements['x00180012']?.items?.[0]?.dataSet
  if (listed) return text(listed, 'x00080104') || 'agent listed'
  const named = text(data, 'x00180010')
  if (!['', 'none', 'no', 'n', '0', 'without', 'n/a', 'unknown'].includes(named.toLowerCase())) return named
  return !named && (numberOf(data, 'x00181041') ?? 0) > 0 ? 'a volume is given' : ''
}

function placeOf(data: DataSet): Place {
  const numbers = (tag: string) => {
    const values = anywhereText(data, tag).split('\\').map(Number)
    return values.length > 1 && values.every(Number.isFinite) ? values : null
  }
  return {
    rows: data.uint16('x00280010') || 0,
    columns: data.uint16('x00280011') || 0,
    frames: numberOf(data, 'x00280008') ?? 1,
    positionMm: numbers('x00200032'),
    directions: numbers('x00200037'),
    spacingMm: numbers('x00280030'),
    thicknessMm: found(data, 'x00180088') ?? found(data, 'x00180050'),
  }
}

/** The places where a tag of an image may be: at the top, in the shared groups, in those of the first frame. */
function* places(data: DataSet): Generator<DataSet> {
  yield data
  for (const tag of [SHARED, PER_FRAME]) {
    const group = data.elements[tag]?.items?.[0]?.dataSet
    if (!group) continue
    yield group
    for (const element of Object.values(group.elements)) if (element.items?.[0]?.dataSet) yield element.items[0].dataSet
  }
}

function anywhereText(data: DataSet, tag: string): string {
  for (const place of places(data)) {
    const value = text(place, tag)
    if (value) return value
  }
  return ''
}

/** A number anywhere: as text, or as the double that enhanced objects hold. */
function found(data: DataSet, tag: string): number | null {
  for (const place of places(data)) {
    const element = place.elements[tag]
    if (!element?.length) continue
    // FD: the tags of enhanced objects that are asked for here have no text.
    const value = element.vr === 'FD' || (!element.vr && element.length === 8 && /^x00189/.test(tag)) ? place.double(tag) : numberOf(place, tag)
    if (value !== null && value !== undefined && Number.isFinite(value)) return value
  }
  return null
}

function numberOf(data: DataSet, tag: string): number | null {
  const first = text(data, tag).split('\\')[0] ?? ''
  return first !== '' && Number.isFinite(Number(first)) ? Number(first) : null
}

function listOf(value: string): string[] {
  return value === '' ? [] : value.split('\\').map((word) => word.trim().toUpperCase())
}

/** A text, UTF-8 or Latin 1, blanks once, without what is no letter. */
function text(data: DataSet, tag: string): string {
  const element = data.elements[tag]
  if (!element || element.items) return ''
  const bytes = data.byteArray.subarray(element.dataOffset, element.dataOffset + Math.min(element.length, table.maxLetters))
  let decoded: string
  try {
    decoded = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    decoded = new TextDecoder('latin1').decode(bytes)
  }
  return decoded.replace(/\p{C}/gu, ' ').split(/\s+/).filter(Boolean).join(' ')
}

function wordsOf(value: string): string[] {
  return [...value.matchAll(/[\p{L}\p{N}]+/gu)].map(([word]) => word.toLowerCase()).filter((word) => word.length > 1)
}
