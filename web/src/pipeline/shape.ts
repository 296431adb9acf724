/** How a brain lies in its grid, and whether it is one, from the outline of its mask; see `gliomask.preprocess.shape`. */

import { applyTurn, type Grid, spacingMm, type Triple, turnToLps } from './grid'
import { meanAndDeviation } from './statistics'

const COARSE_MM = 3
const FEWEST_VOXELS = 1000
const LIMITS = { width: 1, height: 1, mirror: 0.02, front: 0.1, pitch: 0.1 } as const
const PITCHES_DEGREES = [-30, -24, -18, -12, -6, 0, 6, 12, 18, 24, 30]
const SHIFTS_MM = [-12, 0, 12]

/** The average brain as bits, the last axis fastest; axes to the left, to posterior and up. The model's files bring it. */
export interface Outline {
  readonly bits: Uint8Array
  readonly shape: Triple
  readonly mm: number
}

/** How a brain lies, in numbers; see `gliomask.preprocess.shape.OrientationMeasures`. */
export type OrientationMeasures = Readonly<Record<keyof typeof LIMITS, number>>

/** Every nth voxel of a mask in LPS order; axes 0 to 2, the first fastest, and how far apart voxels are on each. */
interface Coarse {
  readonly mask: Uint8Array
  readonly shape: Triple
  readonly spacingMm: Triple
}

/** Measures the outline of a brain on a coarse grid; null where there is too little of it. */
export function orientationMeasures(mask: Uint8Array, grid: Grid): OrientationMeasures | null {
  const coarse = thinned(mask, grid, COARSE_MM)
  const places = placesOf(coarse)
  const count = places[0].length
  if (count < FEWEST_VOXELS) return null
  const [[, width], [meanBack, length], [meanUp, height]] = places.map((along) => meanAndDeviation(along)) as unknown as [Pair, Pair, Pair]
  if (!width || !length || !height) return null
  let [front, pitch] = [0, 0]
  for (let n = 0; n < count; n++) {
    const back = ((places[1][n] as number) - meanBack) / length
    front += back ** 3
    pitch += (back * ((places[2][n] as number) - meanUp)) / height
  }
  const mirror = likenessToMirror(coarse, 2) - likenessToMirror(coarse, 0)
  return { width: width / length, height: height / length, mirror, front: front / count, pitch: pitch / count }
}

type Pair = readonly [number, number]

/** Returns what is wrong with how a brain lies, in words, the measure that says so and its limit; null where nothing is. */
export function misfit(measures: OrientationMeasures): { readonly what: string; readonly value: number; readonly limit: number } | null {
  const words = {
    width: 'it is longer from left to right than from front to back',
    height: 'it is longer from bottom to top than from front to back',
    mirror: 'what the header calls top and bottom are more alike than left and right',
    front: 'it tapers to the back, so front and back are exchanged',
    pitch: 'its lower part lies at the front, so top and bottom are exchanged',
  }
  for (const name of Object.keys(words) as (keyof typeof words)[]) {
    if (measures[name] > LIMITS[name]) return { what: words[name], value: measures[name], limit: LIMITS[name] }
  }
  return null
}

/** Returns the largest Dice of a mask with the average brain, both of one volume and about one centre; null where there is too little. */
export function likenessToBrain(mask: Uint8Array, grid: Grid, outline: Outline): number | null {
  const coarse = thinned(mask, grid, outline.mm)
  const places = placesOf(coarse)
  return tooFew(places, outline) ? null : likenessOfPlaces(places, voxelMm3(coarse), outline)
}

/** Returns the largest `likenessToBrain` over all ways in which a wrong header may lay a mask; 0 where there is too little of it. */
export function likenessTurned(mask: Uint8Array, grid: Grid, outline: Outline): number {
  const coarse = thinned(mask, grid, outline.mm)
  const places = placesOf(coarse)
  if (tooFew(places, outline)) return 0
  let best = 0
  for (const [left, back, up] of ORDERS) {
    for (const backwards of [false, true]) {
      for (const down of [false, true]) {
        const laid: Places = [places[left], mirrored(places[back], backwards), mirrored(places[up], down)]
        best = Math.max(best, likenessOfPlaces(laid, voxelMm3(coarse), outline))
      }
    }
  }
  return best
}

/** Which axis is taken for left, which for posterior and which for up. */
const ORDERS = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] as const

function mirrored(along: Float64Array, really: boolean): Float64Array {
  return really ? along.map((mm) => -mm) : along
}

function tooFew(places: Places, outline: Outline): boolean {
  return places[0].length < FEWEST_VOXELS * (COARSE_MM / outline.mm) ** 3
}

function voxelMm3(coarse: Coarse): number {
  return coarse.spacingMm.reduce((a, b) => a * b)
}

/** As `likenessToBrain`, of the places of a mask's voxels of `voxel` mm3 each. */
function likenessOfPlaces(places: Places, voxel: number, outline: Outline): number {
  const count = places[0].length
  const inside = unpacked(outline)
  const brain = placesOf({ mask: inside, shape: outline.shape, spacingMm: [outline.mm, outline.mm, outline.mm] })
  const centre = brain.map((along) => meanAndDeviation(along)[0]) as Triple
  const volume = brain[0].length * outline.mm ** 3
  const scale = (volume / (count * voxel)) ** (1 / 3)
  const [left, back, up] = places.map((along) => {
    const mean = meanAndDeviation(along)[0]
    return along.map((mm) => (mm - mean) * scale)
  }) as Places
  const [width, height, depth] = outline.shape
  let best = 0
  for (const degrees of PITCHES_DEGREES) {
    const [cos, sin] = [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)]
    for (const shift of SHIFTS_MM) {
      let shared = 0
      for (let n = 0; n < count; n++) {
        const [x, y, z] = [left[n] as number, back[n] as number, up[n] as number]
        const i = toEven((x + centre[0]) / outline.mm)
        const j = toEven((cos * y - sin * z + centre[1]) / outline.mm)
        const k = toEven((sin * y + cos * z + centre[2] + shift) / outline.mm)
        if (i >= 0 && j >= 0 && k >= 0 && i < width && j < height && k < depth && inside[i + width * (j + height * k)]) shared++
      }
      best = Math.max(best, shared)
    }
  }
  return (best * voxel * scale ** 3) / volume
}

/** Returns the areas of the outermost sections of a mask, mm2: right, left, front, back, bottom, top. What was cut off has a large one. */
export function endAreasMm2(mask: Uint8Array, grid: Grid): number[] {
  const turn = turnToLps(grid)
  const laid = applyTurn(turn, mask)
  const spacing = spacingMm(turn.target)
  const [width, height] = turn.target.shape
  const counts = turn.target.shape.map((n) => new Uint32Array(n)) as [Uint32Array, Uint32Array, Uint32Array]
  for (let v = 0; v < laid.length; v++) {
    if (!laid[v]) continue
    const place = [v % width, Math.floor(v / width) % height, Math.floor(v / (width * height))] as const
    place.forEach((at, axis) => counts[axis as 0][at]++)
  }
  return counts.flatMap((along, axis) => {
    const area = spacing.reduce((product, mm, other) => (other === axis ? product : product * mm), 1)
    const within = along.filter((count) => count > 0)
    return [(within[0] ?? 0) * area, (within.at(-1) ?? 0) * area]
  })
}

/** Returns the area of the largest axial section of a mask, and what lies on the lowest and the highest axial face, mm2. */
export function sectionsMm2(mask: Uint8Array, grid: Grid): { readonly largest: number; readonly lowest: number; readonly highest: number } {
  const turn = turnToLps(grid)
  const laid = applyTurn(turn, mask)
  const [width, length] = spacingMm(turn.target)
  const plane = turn.target.shape[0] * turn.target.shape[1]
  const areas = Array.from({ length: turn.target.shape[2] }, (_, k) => {
    let found = 0
    for (let v = k * plane; v < (k + 1) * plane; v++) if (laid[v]) found++
    return found * width * length
  })
  return { largest: Math.max(...areas), lowest: areas[0] as number, highest: areas.at(-1) as number }
}

function thinned(mask: Uint8Array, grid: Grid, stepMm: number): Coarse {
  const turn = turnToLps(grid)
  const laid = applyTurn(turn, mask)
  const spacing = spacingMm(turn.target)
  const from = turn.target.shape
  const steps = spacing.map((mm) => Math.max(1, toEven(stepMm / mm))) as Triple
  const starts = steps.map((step) => Math.floor(step / 2)) as Triple
  const shape = from.map((n, axis) => Math.max(0, Math.ceil((n - (starts[axis] as number)) / (steps[axis] as number)))) as Triple
  const coarse = new Uint8Array(shape[0] * shape[1] * shape[2])
  let at = 0
  for (let k = starts[2]; k < from[2]; k += steps[2]) {
    for (let j = starts[1]; j < from[1]; j += steps[1]) {
      for (let i = starts[0]; i < from[0]; i += steps[0]) coarse[at++] = laid[i + from[0] * (j + from[1] * k)] as number
    }
  }
  return { mask: coarse, shape, spacingMm: spacing.map((mm, axis) => mm * (steps[axis] as number)) as Triple }
}

/** The places of a mask's voxels along each axis, mm. */
type Places = [Float64Array, Float64Array, Float64Array]

function placesOf({ mask, shape: [width, height], spacingMm: [x, y, z] }: Coarse): Places {
  const count = mask.reduce((sum, inside) => sum + (inside ? 1 : 0), 0)
  const places: Places = [new Float64Array(count), new Float64Array(count), new Float64Array(count)]
  let at = 0
  for (let v = 0; v < mask.length; v++) {
    if (!mask[v]) continue
    places[0][at] = (v % width) * x
    places[1][at] = (Math.floor(v / width) % height) * y
    places[2][at++] = Math.floor(v / (width * height)) * z
  }
  return places
}

/** Dice of a mask with its mirror image about its own middle. */
function likenessToMirror({ mask, shape }: Coarse, axis: 0 | 2): number {
  const step = axis === 0 ? 1 : shape[0] * shape[1]
  const along = (v: number) => (axis === 0 ? v % shape[0] : Math.floor(v / step))
  let [sum, count, both] = [0, 0, 0]
  for (let v = 0; v < mask.length; v++) {
    if (!mask[v]) continue
    sum += along(v)
    count++
  }
  const middle = sum / count
  for (let v = 0; v < mask.length; v++) {
    const opposite = toEven(2 * middle - along(v))
    if (mask[v] && opposite >= 0 && opposite < shape[axis] && mask[v + (opposite - along(v)) * step]) both++
  }
  return (2 * both) / (2 * count)
}

function unpacked({ bits, shape: [width, height, depth] }: Outline): Uint8Array {
  const inside = new Uint8Array(width * height * depth)
  for (let i = 0; i < width; i++) {
    for (let j = 0; j < height; j++) {
      for (let k = 0; k < depth; k++) {
        const at = k + depth * (j + height * i)
        inside[i + width * (j + height * k)] = ((bits[at >> 3] as number) >> (7 - (at & 7))) & 1
      }
    }
  }
  return inside
}

/** Rounds as numpy does: halves go to the even neighbour. */
function toEven(value: number): number {
  const rounded = Math.round(value)
  return Math.abs(value - Math.trunc(value)) === 0.5 && rounded % 2 ? rounded - 1 : rounded
}
