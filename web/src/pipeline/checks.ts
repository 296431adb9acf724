/** Quality flags of a case: what looks wrong about it; see `gliomask.preprocess.checks`, whose names, words and limits these are. */

import { BRAIN_LIMITS_ML, FAINT_LIMIT, FILLED_LIMIT, TINY } from './air'
import type { Case } from './case'
import { brainSamples, checkContrast, type Samples } from './contrast'
import { commas, general, InputError } from './errors'
import { cornerDistanceMm, orientation, spacingMm, voxelMl } from './grid'
import { NAN_ISLANDS, places } from './nan'
import { PAPER_ORDER, type Sequence } from './sequences'
import { endAreasMm2, likenessToBrain, likenessTurned, misfit, type OrientationMeasures, orientationMeasures, type Outline, sectionsMm2 } from './shape'

export interface Flag {
  readonly name: string
  readonly message: string
  readonly value: number
  readonly limit: number
}

const NOT_1MM_LIMIT = 0.05
const CUT_LIMIT_MM2 = 6000
const NEGATIVE_LIMIT = 0.1
const MISSING_LIMIT = 0.02

const LIKENESS_LIMIT = 0.87
const SECTION_LIMIT_MM2 = 21_000
const SYMMETRY_LIMIT = 0.05

/** As of `gliomask.preprocess.checks`. */
const STOUT_LIMITS = { width: 0.96, height: 0.6 } as const
const LONG_LIMIT = 1.1
const SLAB_LIMITS = { width: 1, height: 0.45 } as const
const SLIM_LIMITS = { width: 0.6, height: 0.6 } as const
const ALIEN_LIMIT = 0.62

/** Refuses what can be no bare brain, whole or cut: a head or a slab of one whose air is 0, a phantom, a limb. */
export function refuseNoBrain(one: Case, outline: Outline): void {
  if (skullOn(one)) return
  const measures = orientationMeasures(one.foreground.mask, one.grid)
  const likeness = likenessOf(one, outline)
  if (!measures || likeness === null || likeness >= LIKENESS_LIMIT) return
  const what = noBrain(one, measures, likeness, outline)
  if (what) {
    throw new InputError(`Case ${one.id}: this is no bare brain: ${what}. Give scans of a head; with the skull on, give --raw always.`)
  }
}

/** Why what is unlike a whole brain is no part of one either, in words; null where it may be one. */
function noBrain(one: Case, measures: OrientationMeasures, likeness: number, outline: Outline): string | null {
  const { mask } = one.foreground
  const section = sectionsMm2(mask, one.grid)
  if (section.largest > SECTION_LIMIT_MM2) {
    return (
      `an axial section has ${commas(section.largest)} mm2, more than a bare brain (${commas(SECTION_LIMIT_MM2)}), so the ` +
      'skull is on, or it is no head'
    )
  }
  if (Math.max(Math.abs(measures.mirror), Math.abs(measures.front), Math.abs(measures.pitch)) < SYMMETRY_LIMIT && !misfit(measures)) {
    return `its outline is symmetric in every direction and unlike a brain (Dice with the average brain ${likeness.toFixed(2)}), as a phantom's is`
  }
  if (Math.min(section.lowest, section.highest) > CUT_LIMIT_MM2 && measures.height > 1) {
    return 'it goes on beyond the field of view at both ends and is longer than wide, as a limb is'
  }
  const ends = endAreasMm2(mask, one.grid)
  const slab = noSlab(measures, ends)
  if (slab) return slab
  const stout = measures.width > STOUT_LIMITS.width && measures.height > STOUT_LIMITS.height
  const long = measures.height > LONG_LIMIT
  const alien = Math.max(...ends) <= CUT_LIMIT_MM2 && likeness < ALIEN_LIMIT
  // A brain that was cut off in front or behind is short from front to back.
  if (!alien && !((stout || long) && Math.max(...ends.slice(2, 4)) <= CUT_LIMIT_MM2)) return null
  // A brain whose header is wrong is flagged as such.
  if (likenessTurned(mask, one.grid, outline) >= LIKENESS_LIMIT) return null
  if (alien) return `nothing of it was cut off, and it is shaped unlike a brain (Dice with the average brain ${likeness.toFixed(2)})`
  return `it is ${long ? 'taller than long' : 'as wide as long'}, from front to back, and unlike a brain (Dice ${likeness.toFixed(2)}), as a limb or a joint is`
}

/** Why a slab, or something slim, is no part of a brain; null where it may be one. */
function noSlab({ width, height }: OrientationMeasures, ends: readonly number[]): string | null {
  const cut = Math.min(...ends.slice(4)) > CUT_LIMIT_MM2
  const wide = width > SLAB_LIMITS.width && height > SLAB_LIMITS.height
  if (cut && wide && Math.max(...ends.slice(2, 4)) <= CUT_LIMIT_MM2) {
    return 'it was cut off at both ends and is wider than long, as a joint is'
  }
  const slim = width < SLIM_LIMITS.width && height < SLIM_LIMITS.height
  if (slim && Math.max(...ends.slice(0, 2), ...ends.slice(4)) <= CUT_LIMIT_MM2) {
    return (
      'from front to back it is far longer than wide and high (their ratios to its length are ' +
      `${width.toFixed(2)} and ${height.toFixed(2)}, those of brains 0.65 and more)`
    )
  }
  return null
}

const likenesses = new WeakMap<Case, number | null>()

/** The likeness of a case's mask to a brain, measured once for both who ask. */
function likenessOf(one: Case, outline: Outline): number | null {
  const known = likenesses.get(one)
  if (known !== undefined) return known
  const likeness = likenessToBrain(one.foreground.mask, one.grid, outline)
  likenesses.set(one, likeness)
  return likeness
}

/** Returns the flags of a case; an empty list where nothing looks wrong. */
export function checkCase(one: Case, outline: Outline): Flag[] {
  const skull = skullOn(one)
  const general = [notOneMm(one), orientationUnknown(one) ?? twoOrientations(one), nanIsAir(one), nanFilled(one, !skull)]
  if (skull) return [...general, skull].filter((flag) => flag !== null)
  const samples = brainSamples(one)
  const normalised = background(one) ?? negative(samples)
  const contrast = checkContrast(samples, brainSamples(one, 1))
  const broken = [brainSmall(one), brainCut(one)]
  const turned = broken.some((flag) => flag) ? null : brainTurned(one)
  const shape = [...broken, turned, turned ? null : unlikeBrain(one, outline)]
  return [...general, airNotZero(one), ...notBare(one), partMissing(one), ...shape, normalised, ...contrast].filter((flag) => flag !== null)
}

function notOneMm(one: Case): Flag | null {
  const spacing = spacingMm(one.grid)
  const off = Math.max(...spacing.map((mm) => Math.abs(mm - 1)))
  if (off <= NOT_1MM_LIMIT) return null
  const found = spacing.map((mm) => general(mm, 3)).join(' x ')
  const message = `Voxels are ${found} mm; the networks were trained on 1 x 1 x 1 mm. Resample all four sequences to 1 mm first.`
  return { name: 'not_1mm', message, value: off, limit: NOT_1MM_LIMIT }
}

function orientationUnknown(one: Case): Flag | null {
  if (one.formCodes.some((code) => code > 0)) return null
  const message =
    'The header does not say where left and right are (sform and qform codes are 0). Check the orientation, or convert from DICOM again.'
  return { name: 'orientation_unknown', message, value: 0, limit: 1 }
}

function twoOrientations(one: Case): Flag | null {
  if (!one.qform) return null
  if (!one.qform.grid) {
    const message =
      "The header's qform is no rotation and cannot be read; the sform was used. Programs that use the qform will show the result elsewhere."
    return { name: 'two_orientations', message, value: Number.isFinite(one.qform.length) ? one.qform.length : 0, limit: 1 }
  }
  const apart = cornerDistanceMm(one.grid, one.qform.grid)
  const limit = Math.max(...spacingMm(one.grid))
  if (apart <= limit) return null
  const message =
    `The header's sform and qform differ by up to ${general(apart, 3)} mm; the sform was used. Programs that use the ` +
    'qform will show the result elsewhere.'
  return { name: 'two_orientations', message, value: apart, limit }
}

/** A flag where a whole, bare brain does not lie as the grid says; left and right cannot be told. */
function brainTurned(one: Case): Flag | null {
  const measures = orientationMeasures(one.foreground.mask, one.grid)
  const found = measures && misfit(measures)
  if (!found) return null
  const message =
    `The brain does not lie as the header says: ${found.what} (the axes run ${orientation(one.grid)}). ` +
    'Check the orientation in a viewer, or convert from DICOM again. Whether left and right are right cannot be checked.'
  return { name: 'orientation_wrong', message, value: found.value, limit: found.limit }
}

function unlikeBrain(one: Case, outline: Outline): Flag | null {
  const likeness = likenessOf(one, outline)
  if (likeness === null || likeness >= LIKENESS_LIMIT) return null
  const message =
    `What is not air is shaped unlike a whole brain (Dice with the average brain ${likeness.toFixed(2)}; ` +
    `${general(LIKENESS_LIMIT)} and more is usual). Check that it is a bare brain, and that none of it was cut off.`
  return { name: 'unlike_brain', message, value: likeness, limit: LIKENESS_LIMIT }
}

function nanIsAir(one: Case): Flag | null {
  const found = [...one.nan].filter(([, { outside }]) => outside)
  if (!found.length) return null
  const names = found.map(([sequence, { outside }]) => `${sequence}: ${commas(outside)}`).join(', ')
  const message = `Voxels that are NaN and reach the border of the field of view count as air (${names}). Check that no tissue is missing.`
  const value = Math.max(...found.map(([, { outside }]) => outside)) / one.foreground.mask.length
  return { name: 'nan_is_air', message, value, limit: NAN_ISLANDS }
}

/** A flag where voxels were filled; how many of them lie in the brain is told where the brain is bare. */
function nanFilled(one: Case, bare: boolean): Flag | null {
  const found = [...one.nan].filter(([, { filled }]) => filled.length)
  if (!found.length) return null
  const parts = found.map(([sequence, { filled }]) => {
    const inside = filled.filter((v) => one.foreground.mask[v]).length
    const brain = bare ? `, ${commas(inside)} of them in the brain` : ''
    return `${sequence}: ${commas(filled.length)}${brain}, ${places(filled, filled.length, one.grid.shape)}`
  })
  const message =
    'Voxels that are NaN away from the border of the field of view took the mean of their neighbours ' +
    `(${parts.join('; ')}). Look at these places in a viewer.`
  return { name: 'nan_filled', message, value: Math.max(...found.map(([, { filled }]) => filled.length)), limit: 0 }
}

/** A flag where a sequence shows nothing of a part of the brain, as the others show it; see `gliomask.preprocess.gaps`. */
function partMissing(one: Case): Flag | null {
  const { mask, voxels, airs, notBare: heads } = one.foreground
  const shares = [...one.volumes].map(([sequence, volume], n) => {
    const level = Math.fround(airs[n]?.level ?? 0)
    let lacking = 0
    if (!heads.includes(n)) for (let v = 0; v < volume.length; v++) if (mask[v] && volume[v] === level) lacking++
    return [sequence, lacking / Math.max(1, voxels)] as const
  })
  const large = shares.filter(([, share]) => share > MISSING_LIMIT)
  if (!large.length) return null
  const ml = voxels * voxelMl(one.grid)
  const names = large.map(([sequence, share]) => `${sequence}: ${percent(share)}, ${commas(share * ml)} ml`).join(', ')
  const message =
    `Part of the brain, as the other sequences show it, is air here (${names}): it lies outside that field of view, or was cut away. ` +
    'Tumour there may be missed; give scans of the whole brain.'
  return { name: 'part_missing', message, value: Math.max(...large.map(([, share]) => share)), limit: MISSING_LIMIT }
}

function skullOn(one: Case): Flag | null {
  const remedy = 'Strip the skull in all four sequences first (air and everything outside the brain 0).'
  const { airs, voxels, mask } = one.foreground
  const filled = Math.min(...airs.map((air) => air.filled))
  if (filled > FILLED_LIMIT) {
    const message = `${percent(filled)} of the field of view is not air, more than a bare brain can fill. ${remedy}`
    return { name: 'skull_on', message, value: filled, limit: FILLED_LIMIT }
  }
  const volumeMl = Math.max(voxels, filled * mask.length) * voxelMl(one.grid)
  if (volumeMl <= BRAIN_LIMITS_ML[1]) return null
  return { name: 'skull_on', message: `${commas(volumeMl)} ml are not air, more than a brain has. ${remedy}`, value: volumeMl, limit: BRAIN_LIMITS_ML[1] }
}

function airNotZero(one: Case): Flag | null {
  const { faint, unclean, mask } = one.foreground
  if (!faint) return null
  const names = unclean.map((n) => sequenceAt(one, n)).join(', ')
  const message =
    `Air is not exactly 0 (${names}): ${commas(faint)} voxels are hardly above it, as after interpolation by splines, and were not taken for brain. ` +
    'Give the scans with 0 outside the brain.'
  return { name: 'air_not_zero', message, value: faint / mask.length, limit: FAINT_LIMIT }
}

function notBare(one: Case): Flag[] {
  const { airs, notBare: heads } = one.foreground
  return heads.map((n) => {
    const filled = airs[n]?.filled ?? 0
    const others = [...one.volumes.keys()].filter((_, other) => !heads.includes(other)).join(', ')
    const message =
      `${sequenceAt(one, n)}: ${percent(filled)} of the field of view is not air, more than a bare brain, but the others are bare: ` +
      `the brain was taken from ${others}. Strip the skull of all sequences with one mask.`
    return { name: 'not_bare', message, value: filled, limit: FILLED_LIMIT }
  })
}

function brainSmall(one: Case): Flag | null {
  const volumeMl = one.foreground.voxels * voxelMl(one.grid)
  if (volumeMl >= BRAIN_LIMITS_ML[0]) return null
  const message = `Only ${commas(volumeMl)} ml are not 0, less than a brain has. Check that the scans are whole and that the spacing in the header is right.`
  return { name: 'brain_small', message, value: volumeMl, limit: BRAIN_LIMITS_ML[0] }
}

function brainCut(one: Case): Flag | null {
  const [width, height, depth] = one.grid.shape
  const [i, j, k] = spacingMm(one.grid)
  const areas = [0, 0, 0, 0, 0, 0]
  const { mask } = one.foreground
  for (let v = 0; v < mask.length; v++) {
    if (!mask[v]) continue
    const place = [v % width, Math.floor(v / width) % height, Math.floor(v / (width * height))]
    ;[width, height, depth].forEach((n, axis) => {
      const mm2 = [j * k, i * k, i * j][axis] as number
      if (place[axis] === 0) areas[2 * axis] = (areas[2 * axis] as number) + mm2
      if (place[axis] === n - 1) areas[2 * axis + 1] = (areas[2 * axis + 1] as number) + mm2
    })
  }
  const largest = Math.max(...areas)
  if (largest <= CUT_LIMIT_MM2) return null
  const message = `The brain is cut by the edge of the field of view (${commas(largest)} mm2 on one face). What lies outside is not segmented; give whole scans.`
  return { name: 'brain_cut', message, value: largest, limit: CUT_LIMIT_MM2 }
}

const NORMALISED =
  'so the intensities were normalised already. They are normalised again here; give the scans as they came from the scanner if there are any.'

function background(one: Case): Flag | null {
  for (const [n, air] of one.foreground.airs.entries()) {
    // A constant as small as that was added to keep a logarithm or a division from 0.
    if (Math.abs(air.level) <= TINY * air.bright) continue
    const message = `${sequenceAt(one, n)}: air is ${general(air.level, 4)}, not 0, ${NORMALISED}`
    return { name: 'already_normalised', message, value: air.level, limit: 0 }
  }
  return null
}

function negative(samples: Samples): Flag | null {
  for (const [n, values] of samples.entries()) {
    const share = values.filter((value) => value < 0).length / Math.max(1, values.length)
    if (share <= NEGATIVE_LIMIT) continue
    const message = `${PAPER_ORDER[n]}: ${percent(share)} of the brain is below 0, ${NORMALISED}`
    return { name: 'already_normalised', message, value: share, limit: NEGATIVE_LIMIT }
  }
  return null
}

function sequenceAt(one: Case, n: number): Sequence {
  return [...one.volumes.keys()][n] as Sequence
}

function percent(share: number): string {
  return `${Math.round(100 * share)}%`
}
