/** Which of the four sequences a series is, and why; see `gliomask.io.dicom.recognise`, whose rules and words these are. */

import { general } from '../pipeline/errors'
import type { Sequence } from '../pipeline/sequences'
import { type Description, readDescription } from './descriptions'
import { pattern } from './patterns'
import type { Tags } from './tags'
import table from './words.json'

const [FLUID_TI_MS, LONG_TR_MS, LONG_TE_MS, SHORT_TE_MS, SHORT_TR_MS, MAX_T1_TR_MS] = [1300, 2000, 60, 40, 1200, 3500] as const
const STIR_TI_MS = [80, 350] as const
const GRADIENT_T1_TE_MS = 12

const KINDS = Object.entries(table.kinds).map(([kind, source]) => [kind, pattern(source)] as const)
const ECHO_PLANAR = pattern(table.echoPlanar)
const REFORMATTED_WORDS = pattern(table.reformattedWords)
/** As `_by_words` of `gliomask.io.dicom.recognise`. */
const [FLUID, T1_WORD, T2_WORD] = [pattern(String.raw`flair|dark.?fluid|fluid|tirm|\bt2.?fl\b`), pattern(String.raw`\bt1`), pattern(String.raw`\bt2`)]
const WEIGHTED = pattern(String.raw`\b(?:ax|sag|cor|tra)?(?:[23]d)?[sdwe]?t([12])(?![0-9])`, 'g')
const T1_TECHNIQUE = pattern(String.raw`mp.?rage|spgr|bravo|\bvibe\b|\be?thrive\b|\bmprage|\btfl\b|\bffe\b.*t1|fspgr|\btfe\b`)
const DERIVED: Readonly<Record<string, string>> = table.derivedKinds
const MR_CLASSES: readonly string[] = table.mrClasses

/** What a series is taken for, and how sure that is beside others of the same sequence. */
export interface Guess {
  readonly sequence: Sequence | null
  readonly reason: string
  /** A word or AcquisitionContrast names the sequence, not timing alone. */
  readonly named: boolean
  /** Only the header's contrast agent says that it is a T1ce. */
  readonly agentByHeader: boolean
  readonly reformatted: boolean
}

interface Words {
  readonly source: string
  readonly description: Description
}

const none = (reason: string, named = false): Guess => ({ sequence: null, reason, named, agentByHeader: false, reformatted: false })

/** Returns which sequence a series is, from its tags alone. */
export function recogniseSeries(tags: Tags): Guess {
  const words = wordsOf(tags)
  const kind = notAnatomical(tags, words)
  if (kind) return none(kind)
  const weighted = weighting(tags, words)
  if (!weighted.sequence) return none(weighted.why)
  const reformatted = tags.imageType.some((value) => table.reformatted.includes(value)) || REFORMATTED_WORDS.test(words.description.words)
  const why = weighted.why + (reformatted ? ', reformatted' : '')
  const guess = { sequence: weighted.sequence, reason: why, named: weighted.named, agentByHeader: false, reformatted }
  if (weighted.sequence !== 't1') return guess
  const { agent } = words.description
  if (agent === 'both') return none(`the ${words.source} says both with and without contrast agent: name it by --series if it is one of the four`)
  const [contrast, because] = contrastOf(tags, words)
  return { ...guess, sequence: contrast ? 't1ce' : 't1', reason: `${why}; ${because}`, agentByHeader: contrast && agent !== 'with' }
}

function wordsOf(tags: Tags): Words {
  const texts = [['description', tags.description], ['protocol name', tags.protocol], ['sequence name', tags.sequenceName]] as const
  const [source, text] = texts.find(([, one]) => one) ?? ['description', '']
  return { source, description: readDescription(text) }
}

function notAnatomical(tags: Tags, words: Words): string | null {
  if (tags.modality !== 'MR') return `modality ${tags.modality || 'not given'}, not MR`
  if (!MR_CLASSES.includes(tags.sopClass)) return 'no MR image (secondary capture, segmentation or report)'
  if (tags.samplesPerPixel !== 1 || !['MONOCHROME2', ''].includes(tags.photometric)) return `colour or inverted pixels (${tags.photometric})`
  const derived = tags.imageType.find((value) => DERIVED[value])
  if (derived) return `${DERIVED[derived]}, says ${tags.sopClass === MR_CLASSES[0] ? 'ImageType' : 'FrameType'}`
  if (tags.bValue) return `diffusion, b-value ${general(tags.bValue)}`
  return byKindOfWords(tags, words)
}

function byKindOfWords(tags: Tags, words: Words): string | null {
  const text = words.description.words
  const kind = KINDS.find(([, pattern]) => pattern.test(text))
  if (kind) return `${kind[0]}, says the ${words.source}`
  const planar = 'echo-planar (functional, diffusion or perfusion), says'
  if (!text.includes('flair') && tags.scanningSequence.includes('EP')) return `${planar} ScanningSequence`
  if (!text.includes('flair') && ECHO_PLANAR.test(text)) return `${planar} the ${words.source}`
  return inversionNullsFat(tags) ? `fat-suppressed inversion (STIR), says TI ${ms(tags.inversionTimeMs)}` : null
}

function inversionNullsFat(tags: Tags): boolean {
  const ti = tags.inversionTimeMs ?? 0
  return ti >= STIR_TI_MS[0] && ti <= STIR_TI_MS[1] && !gradient(tags)
}

/** Gradient echo without spin echo. */
function gradient({ scanningSequence }: Tags): boolean {
  const has = (kind: string) => scanningSequence.includes(kind)
  return (has('GR') || has('RM')) && !has('SE') && !has('EP')
}

interface Weighted {
  readonly sequence: Sequence | null
  readonly why: string
  readonly named: boolean
}

/** T1, T2 or FLAIR with the reason; what timing says must not contradict a name. */
function weighting(tags: Tags, words: Words): Weighted {
  const text = words.description.words
  let [named, source] = [byWords(text), words.source]
  if (!named) [named, source] = [byAcquisitionContrast(tags, text), 'AcquisitionContrast']
  const timing = `TR ${ms(tags.repetitionTimeMs)}, TE ${ms(tags.echoTimeMs)}, TI ${ms(tags.inversionTimeMs)}`
  if (!named) {
    const timed = byTiming(tags)
    const told = text ? `the ${words.source} names none` : 'there is no description'
    return { sequence: timed, why: timed ? `${timing} alone, ${told}` : `neither words nor ${timing} tell a sequence`, named: false }
  }
  const wrong = contradiction(named, tags)
  if (wrong) return { sequence: null, why: `its ${source} says ${named}, ${timing} ${wrong}: name it by --series if it is one of the four`, named: true }
  const known = tags.repetitionTimeMs !== null && tags.echoTimeMs !== null
  return { sequence: named, why: known ? `${source} and ${timing}` : source, named: true }
}

function byWords(words: string): Sequence | null {
  // A T1 FLAIR is weighted by T1: its inversion sharpens the contrast of grey and white matter.
  if (FLUID.test(words)) return T1_WORD.test(words) ? 't1' : 'flair'
  const weightings = new Set([...words.matchAll(WEIGHTED)].map(([, digit]) => Number(digit)))
  if (T1_TECHNIQUE.test(words)) weightings.add(1)
  return weightings.size === 1 ? (weightings.has(1) ? 't1' : 't2') : null
}

/** What an enhanced object says of itself (PS3.3, C.8.13.3.1), unless its description names two weightings. */
function byAcquisitionContrast(tags: Tags, words: string): Sequence | null {
  if (T1_WORD.test(words) && T2_WORD.test(words)) return null
  return ({ FLUID_ATTENUATED: 'flair', T1: 't1', T2: 't2' } as Readonly<Record<string, Sequence>>)[tags.acquisitionContrast] ?? null
}

/** What in the timing cannot be so in this sequence; null where nothing is, or where it is not given. */
function contradiction(named: Sequence, tags: Tags): string | null {
  const [tr, te, ti, echoes] = [tags.repetitionTimeMs, tags.echoTimeMs, tags.inversionTimeMs ?? 0, gradient(tags)]
  const timed = byTiming(tags)
  if (named === 't1') {
    if (timed !== null && timed !== 't1') return `says ${timed}`
    if (te !== null && te > (echoes ? GRADIENT_T1_TE_MS : SHORT_TE_MS)) return echoes ? 'is T2* (gradient echo)' : 'has too long an echo time'
    return tr !== null && tr > MAX_T1_TR_MS && !echoes ? 'is proton density at most' : null
  }
  if (echoes && named !== 'flair') return 'is a gradient echo: T2* at most'
  if (te !== null && te < SHORT_TE_MS) return 'is proton density at most'
  if (timed === 't1' || (tr !== null && tr <= SHORT_TR_MS)) return 'says t1'
  if (named === 't2') return ti > 0 ? `says ${ti >= FLUID_TI_MS ? 'flair' : 'neither t2 nor flair'}` : null
  return ti > 0 && ti < FLUID_TI_MS ? 'has too short an inversion time' : null
}

function byTiming(tags: Tags): Sequence | null {
  const [tr, te, ti, echoes] = [tags.repetitionTimeMs, tags.echoTimeMs, tags.inversionTimeMs ?? 0, gradient(tags)]
  if (tr === null || te === null || inversionNullsFat(tags)) return null
  if (ti >= FLUID_TI_MS && te >= LONG_TE_MS && tr >= LONG_TR_MS) return 'flair'
  const short = tr <= SHORT_TR_MS || (tr <= MAX_T1_TR_MS && ti > 0 && ti < FLUID_TI_MS)
  if (te <= (echoes ? GRADIENT_T1_TE_MS : SHORT_TE_MS) && short) return 't1'
  return tr >= LONG_TR_MS && te >= LONG_TE_MS && !ti && !echoes ? 't2' : null
}

function contrastOf(tags: Tags, words: Words): [boolean, string] {
  const { agent } = words.description
  if (agent === 'with' || agent === 'without') return [agent === 'with', `the ${words.source} says ${agent} contrast agent`]
  if (tags.contrastAgent) return [true, 'a contrast agent is given in the header']
  return [false, 'no contrast agent named']
}

function ms(value: number | null): string {
  return value === null ? '-' : general(value, 4)
}
