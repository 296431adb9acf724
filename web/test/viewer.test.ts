/** What the viewer lays over scans, and what it refuses to draw. */

import { describe, expect, test } from 'vitest'

import type { Affine, Grid } from '../src/pipeline/grid'
import { readNifti } from '../src/pipeline/nifti'
import { fromCodes } from '../src/view/files'
import { boxIn, cropped, croppedGrid, spaceOf } from '../src/viewer/crop'
import { refuseUndrawable } from '../src/viewer/drawable'
import type { Exam, LabelMap, Scan } from '../src/viewer/exam'
import { imageBytes, usualWindow } from '../src/viewer/image'
import { agreement, ALL_LABELS, diceByRegion, labelsOverlay, overlayNames, valuesOverlay } from '../src/viewer/overlay'
import { crosshairVoxels, indexOf, pointOf, voxelAt } from '../src/viewer/places'

const GRID: Grid = { shape: [4, 3, 2], affine: [[0, 0, -2, 3], [1.5, 0, 0, -4], [0, -1, 0, 9]] as Affine }

function map(values: number[], grid = GRID): LabelMap {
  return { name: 'seg', grid, values: Uint8Array.from({ length: 24 }, (_, n) => values[n] ?? 0), header: new Uint8Array(348) }
}

test('a volume that is written for the drawing library is read back as it was', async () => {
  for (const values of [Float32Array.from({ length: 24 }, (_, n) => n - 3.5), Uint8Array.from({ length: 24 }, (_, n) => n)]) {
    const read = await readNifti('x', new Blob([imageBytes(GRID, values)]))
    expect([...read.values]).toEqual([...values])
    expect(read.grid).toEqual(GRID)
  }
  expect(() => imageBytes(GRID, new Uint8Array(23))).toThrow('do not fill')
})

test('agreement counts what both have, what was missed and what is extra', () => {
  const found = agreement(map([1, 3, 2, 0, 0, 3]), map([3, 3, 0, 0, 1, 2]), 'TC')
  expect([found?.agreed, found?.missed, found?.extra]).toEqual([2, 1, 1])
  expect(found?.dice).toBeCloseTo(4 / 6)
  expect([...(found?.overlay.values.subarray(0, 6) ?? [])]).toEqual([1, 1, 0, 0, 2, 3])
})

test('two empty regions agree, and maps on two grids are not compared', () => {
  expect(agreement(map([]), map([]), 'ET')?.dice).toBe(1)
  expect(agreement(map([]), map([], { ...GRID, affine: [[0, 0, -2, 4], [1.5, 0, 0, -4], [0, -1, 0, 9]] as Affine }), 'ET')).toBeNull()
})

test('a label that is switched off is clear, and so is the background', () => {
  const { colours } = labelsOverlay(map([]), 'okabe-ito', new Set([1, 3]))
  expect(colours.map((colour) => colour[3])).toEqual([0, 255, 0, 255])
  expect(labelsOverlay(map([]), 'paper', ALL_LABELS).colours[1]).toEqual([228, 26, 28, 255])
})

test('a value map is clear where it is near 0: the drawing library would tint the background otherwise', () => {
  const { colours } = valuesOverlay({ title: 'u', grid: GRID, values: new Uint8Array(24) })
  expect(colours).toHaveLength(256)
  expect(colours.slice(0, 3).every((colour) => colour[3] === 0)).toBe(true)
  expect(colours[255]?.[3]).toBe(255)
})

test('the menu offers what there is', () => {
  const exam: Exam = { id: 'p', title: 'p', scans: new Map(), segmentation: map([1]), reference: null, maps: [], facts: { model: '', flags: [], expected: [] } }
  expect(overlayNames(exam)).toEqual(['segmentation', 'none'])
  expect(overlayNames({ ...exam, reference: map([1]) })).toContain('agreement WT')
})

test('labels on disk become 0 to 3, and an unknown one is refused', () => {
  expect([...fromCodes('s', Float32Array.from([0, 4, 2, 1]), [0, 1, 2, 4])]).toEqual([0, 3, 2, 1])
  expect(() => fromCodes('s', Float32Array.from([3]), [0, 1, 2, 4])).toThrow('s: holds the label 3; known are 0, 1, 2, 4.')
})

test('the usual window leaves out the brightest voxels and the air', () => {
  const values = Float32Array.from({ length: 2000 }, (_, n) => (n < 1000 ? 0 : n - 1000))
  values[1999] = 1e6
  const [low, high] = usualWindow(values)
  expect(low).toBe(0)
  expect(high).toBeGreaterThan(900)
  expect(high).toBeLessThan(1000)
  expect(usualWindow(new Float32Array(10))).toEqual([0, 1])
})

test('without graphics, or with too small ones, the reason is said instead of a black picture', () => {
  const scans = [{ name: 'p_t1.nii.gz', grid: { ...GRID, shape: [4096, 3, 2] } as Grid }]
  expect(() => refuseUndrawable(null, scans)).toThrow('has no WebGL 2')
  expect(() => refuseUndrawable({ largestTexture: 2048, software: false }, scans)).toThrow('p_t1.nii.gz has 4096 x 3 x 2 voxels; the graphics of this computer hold 2048')
  expect(() => refuseUndrawable({ largestTexture: 4096, software: false }, scans)).not.toThrow()
})

describe('leaving out the air', () => {
  const shape: Grid['shape'] = [20, 18, 16]
  const AXES_TURNED: Affine[] = [
    [[-1, 0, 0, 11], [0, -2, 0, 18], [0, 0, 3, -5]],
    [[0, 1, 0, 0], [0, 0, -2, 18], [3, 0, 0, -5]],
  ]

  /** An exam whose one scan has brain from 8, 9, 7 to 10, 11, 9, on the air that is given. */
  function examOn(grid: Grid, air: number): Exam {
    const values = new Float32Array(20 * 18 * 16).fill(air)
    for (let k = 7; k < 10; k++) for (let j = 9; j < 12; j++) for (let i = 8; i < 11; i++) values[i + 20 * (j + 18 * k)] = 100 + i
    const scans = new Map([['flair' as const, { name: 'flair', grid, values }]])
    return { id: 'p', title: 'p', scans, segmentation: null, reference: null, maps: [], facts: { model: '', flags: [], expected: [] } }
  }

  test.each(AXES_TURNED)('a part holds all brain at the same millimetres', (...affine) => {
    const grid: Grid = { shape, affine: affine as Affine }
    const exam = examOn(grid, -3)
    const scan = exam.scans.get('flair') as Scan
    const box = boxIn(grid, spaceOf(exam))
    const [small, values] = [croppedGrid(grid, box), cropped(grid, scan.values, box)]
    expect(values.length).toBeLessThan(scan.values.length)
    expect(values.filter((value) => value > 0)).toHaveLength(27)
    values.forEach((value, n) => {
      const voxel = [n % small.shape[0], Math.floor(n / small.shape[0]) % small.shape[1], Math.floor(n / (small.shape[0] * small.shape[1]))]
      const there = voxelAt(grid, pointOf(small, voxel)) as Grid['shape']
      expect(scan.values[indexOf(grid, there)]).toBe(value)
    })
  })

  test('a scan of one value is shown whole', () => {
    const grid: Grid = { shape, affine: AXES_TURNED[0] as Affine }
    const exam = examOn(grid, 0)
    exam.scans.get('flair')?.values.fill(7)
    expect(boxIn(grid, spaceOf(exam))).toEqual({ first: [0, 0, 0], end: shape })
  })

  test('a label in the air is shown, too', () => {
    const grid: Grid = { shape, affine: AXES_TURNED[0] as Affine }
    const labels = new Uint8Array(20 * 18 * 16)
    labels[20 * 18 * 16 - 1] = 3
    const exam = { ...examOn(grid, 0), segmentation: { name: 'seg', grid, values: labels, header: new Uint8Array(348) } }
    expect(boxIn(grid, spaceOf(exam)).end).toEqual(shape)
  })
})

test('the Dice of all regions at once is that of each', () => {
  const [one, other] = [map([1, 3, 2, 0, 0, 3]), map([3, 3, 0, 0, 1, 2])]
  const all = diceByRegion(one, other)
  for (const region of ['WT', 'TC', 'ET'] as const) expect(all?.[region]).toBe(agreement(one, other, region)?.dice)
  expect(diceByRegion(map([]), map([]))).toEqual({ WT: 1, TC: 1, ET: 1 })
})

test('the crosshair is seen at every size: a quarter of a voxel, and a pixel and a half at least', () => {
  expect(crosshairVoxels([180, 240, 155], 1, 4800)).toBe(0.25)
  expect(crosshairVoxels([180, 240, 155], 1, 300)).toBeCloseTo(1.2)
  expect(crosshairVoxels([180, 240, 155], 0.5, 300)).toBeCloseTo(2.4)
  expect(crosshairVoxels([10, 10, 10], 1, 0)).toBe(15)
})
