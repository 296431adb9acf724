/** What is laid over the scans: one byte a voxel, and a colour for each byte. */

import type { Grid } from '../pipeline/grid'
import { sameGrid } from '../pipeline/grid'
import { REGION_LABELS } from '../pipeline/postprocess'
import palettes from './palettes.json'
import { type Exam, type LabelMap, LABELS, type ValueMap } from './exam'

export type Region = keyof typeof REGION_LABELS

export const REGIONS = ['WT', 'TC', 'ET'] as const satisfies readonly Region[]

export type PaletteName = keyof typeof palettes

export const PALETTE_NAMES = Object.keys(palettes) as PaletteName[]

type Colour = readonly [number, number, number]

/**
 * Red, green, blue and opacity of each value, 0 to 255 each; any opacity but 0 counts as full, times that of the overlay.
 *
 * NiiVue moves values in the lowest 2/256 of a table up to there, so a table of few labels must be short, and a long one clear at its beginning.
 */
export type ColourTable = readonly (readonly [number, number, number, number])[]

export interface Overlay {
  readonly grid: Grid
  readonly values: Uint8Array
  readonly colours: ColourTable
}

/** Values of an agreement map. */
export const AGREED = 1
export const MISSED = 2
export const EXTRA = 3

/** The value of a voxel, by twice whether the prediction has it plus whether the reference has it. */
const AGREEMENT = [0, MISSED, EXTRA, AGREED] as const

// Okabe and Ito, Color Universal Design, 2008: bluish green, vermilion, sky blue.
export const AGREEMENT_COLOURS: Readonly<Record<number, Colour>> = { [AGREED]: [0, 158, 115], [MISSED]: [213, 94, 0], [EXTRA]: [86, 180, 233] }

const CLEAR = [0, 0, 0, 0] as const

/** Returns the colour of a label, 0 to 255 each. */
export function labelColour(palette: PaletteName, label: number): Colour {
  return (palettes[palette] as unknown as Record<string, Colour>)[String(label)] ?? [0, 0, 0]
}

/** Returns a label map as an overlay; labels that are not shown are clear. */
export function labelsOverlay(map: LabelMap, palette: PaletteName, shown: ReadonlySet<number>): Overlay {
  const colours = table((value) => (shown.has(value) ? labelColour(palette, value) : null))
  return { grid: map.grid, values: map.values, colours }
}

/** From blue over orange to yellow, so that it lightens evenly in grey. */
const STOPS: readonly Colour[] = [[0, 60, 130], [0, 114, 178], [204, 121, 67], [230, 159, 0], [240, 228, 66]]

/** Values from here on, of 255, are coloured: 2 %. */
const LEAST_SHOWN = 5

/** Returns the colour of a probability or uncertainty, 0 to 255 for 0 to 1. */
export function valueColour(value: number): Colour {
  const at = (value / 255) * (STOPS.length - 1)
  const [low, high] = [STOPS[Math.floor(at)] as Colour, STOPS[Math.min(STOPS.length - 1, Math.floor(at) + 1)] as Colour]
  const mixed = low.map((one, n) => Math.round(one + (at % 1) * ((high[n] as number) - one)))
  return [mixed[0] as number, mixed[1] as number, mixed[2] as number]
}

/** Returns a probability or uncertainty as an overlay: clear below 2 %. */
export function valuesOverlay(map: ValueMap): Overlay {
  const colours = Array.from({ length: 256 }, (_, value) => (value < LEAST_SHOWN ? CLEAR : ([...valueColour(value), 255] as const)))
  return { grid: map.grid, values: map.values, colours }
}

/** What a prediction and a reference share of a region, what the prediction missed, and what it has beyond. */
export interface Agreement {
  readonly overlay: Overlay
  readonly agreed: number
  readonly missed: number
  readonly extra: number
  /** 2 agreed / (2 agreed + missed + extra); 1 where both are empty, as BraTS scores it. */
  readonly dice: number
}

/** Compares a prediction with a reference; null where they do not lie on one grid. */
export function agreement(predicted: LabelMap, reference: LabelMap, region: Region): Agreement | null {
  if (!sameGrid(predicted.grid, reference.grid)) return null
  const members = membersOf(region)
  const values = new Uint8Array(predicted.values.length)
  const counts: [number, number, number, number] = [0, 0, 0, 0]
  for (let v = 0; v < values.length; v++) {
    const value = AGREEMENT[2 * (members[predicted.values[v] as number] as number) + (members[reference.values[v] as number] as number)] as 0
    values[v] = value
    counts[value]++
  }
  const [, agreed, missed, extra] = counts
  const colours = table((value) => AGREEMENT_COLOURS[value] ?? null)
  return { overlay: { grid: predicted.grid, values, colours }, agreed, missed, extra, dice: diceOf(agreed, missed, extra) }
}

/** Returns the Dice of every region in one pass; null where prediction and reference do not lie on one grid. */
export function diceByRegion(predicted: LabelMap, reference: LabelMap): Record<Region, number> | null {
  if (!sameGrid(predicted.grid, reference.grid)) return null
  const pairs = new Uint32Array(16)
  for (let v = 0; v < predicted.values.length; v++) {
    const pair = 4 * (predicted.values[v] as number) + (reference.values[v] as number)
    pairs[pair] = (pairs[pair] as number) + 1
  }
  const dice = (region: Region) => {
    const members = membersOf(region)
    const counts: [number, number, number, number] = [0, 0, 0, 0]
    pairs.forEach((count, pair) => (counts[AGREEMENT[2 * (members[pair >> 2] as number) + (members[pair & 3] as number)] as 0] += count))
    return diceOf(counts[AGREED], counts[MISSED], counts[EXTRA])
  }
  return { WT: dice('WT'), TC: dice('TC'), ET: dice('ET') }
}

/** 1 for each label of a region, 0 for others. */
function membersOf(region: Region): Uint8Array {
  return Uint8Array.from({ length: 4 }, (_, label) => (REGION_LABELS[region].includes(label) ? 1 : 0))
}

/** 1 where both are empty, as BraTS scores it. */
function diceOf(agreed: number, missed: number, extra: number): number {
  const total = 2 * agreed + missed + extra
  return total ? (2 * agreed) / total : 1
}

/** What can be laid over an exam, by name, in the order of the menu. */
export function overlayNames(exam: Exam): string[] {
  const both = exam.segmentation && exam.reference && sameGrid(exam.segmentation.grid, exam.reference.grid)
  return [
    ...(exam.segmentation ? ['segmentation'] : []),
    ...(exam.reference ? ['reference'] : []),
    ...(both ? REGIONS.map((region) => `agreement ${region}`) : []),
    ...exam.maps.map((_, n) => `map ${n}`),
    'none',
  ]
}

/** Returns the overlay of that name; null where the exam has none. */
export function namedOverlay(exam: Exam, name: string, palette: PaletteName, shown: ReadonlySet<number>): Overlay | null {
  if (name === 'segmentation') return exam.segmentation && labelsOverlay(exam.segmentation, palette, shown)
  if (name === 'reference') return exam.reference && labelsOverlay(exam.reference, palette, shown)
  const [kind, which = ''] = name.split(' ')
  if (kind === 'agreement' && exam.segmentation && exam.reference) {
    return agreement(exam.segmentation, exam.reference, which as Region)?.overlay ?? null
  }
  const map = kind === 'map' ? exam.maps[Number(which)] : undefined
  return map ? valuesOverlay(map) : null
}

function table(colour: (value: number) => Colour | null): ColourTable {
  return Array.from({ length: 4 }, (_, value) => {
    const found = value ? colour(value) : null
    return found ? ([...found, 255] as const) : CLEAR
  }) as ColourTable
}

/** All labels. */
export const ALL_LABELS: ReadonlySet<number> = new Set(LABELS)
