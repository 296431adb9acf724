/** DICOM series: recognised as Python recognises them, chosen, and refused where they are no one patient's. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import { describe, expect, test } from 'vitest'

import { theVolume } from '../src/dicom/convert'
import { readDicomHeader } from '../src/dicom/headers'
import { recogniseSeries } from '../src/dicom/recognise'
import { surveyOf } from '../src/dicom/survey'
import type { Tags } from '../src/dicom/tags'

const MR = '1.2.840.10008.5.1.4.1.1.4'
const vectors = JSON.parse(readFileSync(join(import.meta.dirname, '../vectors/functions.json'), 'utf8')).series as {
  tags: Record<string, never>
  guess: [string | null, string, boolean, boolean, boolean]
}[]

const BLANK: Tags = {
  seriesUid: '1',
  studyUid: '1',
  patient: '',
  transferSyntax: '1',
  sopClass: MR,
  modality: 'MR',
  samplesPerPixel: 1,
  photometric: 'MONOCHROME2',
  number: 1,
  description: '',
  protocol: '',
  sequenceName: '',
  imageType: ['ORIGINAL', 'PRIMARY'],
  scanningSequence: [],
  acquisitionContrast: '',
  repetitionTimeMs: null,
  echoTimeMs: null,
  inversionTimeMs: null,
  contrastAgent: '',
  bValue: null,
}

test.each(vectors)('a series is taken for what Python takes it for: $tags', ({ tags, guess }) => {
  const named = Object.entries(tags).map(([name, value]) => [name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()), value])
  const found = recogniseSeries({ ...BLANK, ...Object.fromEntries(named) })
  expect([found.sequence, found.reason, found.named, found.agentByHeader, found.reformatted]).toEqual(guess)
})

type Element = readonly [group: number, element: number, vr: string, value: string | number]

/** A file of one image, explicit little endian. */
function dicom(name: string, changes: readonly Element[] = [], prefix = true): File {
  const elements = new Map<string, Element>()
  const all: readonly Element[] = [
    [0x8, 0x8, 'CS', 'ORIGINAL\\PRIMARY\\M'],
    [0x8, 0x16, 'UI', MR],
    [0x8, 0x18, 'UI', `1.${name.length}.${[...name].map((letter) => letter.charCodeAt(0)).join('')}`],
    [0x8, 0x60, 'CS', 'MR'],
    [0x8, 0x103e, 'LO', 'AX T1 SMITH'],
    [0x10, 0x10, 'PN', 'SMITH^JANE'],
    [0x10, 0x20, 'LO', '4711'],
    [0x18, 0x80, 'DS', '600'],
    [0x18, 0x81, 'DS', '12'],
    [0x20, 0xd, 'UI', '1.1'],
    [0x20, 0xe, 'UI', '1.2'],
    [0x20, 0x11, 'IS', '5'],
    [0x20, 0x32, 'DS', '0\\0\\0'],
    [0x20, 0x37, 'DS', '1\\0\\0\\0\\1\\0'],
    [0x28, 0x10, 'US', 4],
    [0x28, 0x11, 'US', 4],
    [0x28, 0x30, 'DS', '1\\1'],
    [0x7fe0, 0x10, 'OW', ''],
    ...changes,
  ]
  for (const one of all) elements.set(`${one[0].toString(16).padStart(4, '0')}${one[1].toString(16).padStart(4, '0')}`, one)
  const body = [...elements].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, one]) => bytesOf(one))
  const syntax = bytesOf([0x2, 0x10, 'UI', '1.2.840.10008.1.2.1'])
  const meta = [...bytesOf([0x2, 0x0, 'UL', syntax.length]), ...syntax]
  return new File([Uint8Array.from(prefix ? [...new Array<number>(128).fill(0), ...Buffer.from('DICM'), ...meta, ...body] : body)], name)
}

function bytesOf([group, element, vr, value]: Element): number[] {
  const little = (number: number, count: number) => Array.from({ length: count }, (_, n) => (number >> (8 * n)) & 255)
  const content = typeof value === 'number' ? little(value, vr === 'UL' ? 4 : 2) : [...Buffer.from(value.length % 2 ? `${value} ` : value, 'latin1')]
  const head = [...little(group, 2), ...little(element, 2), ...Buffer.from(vr)]
  return [...head, ...(vr === 'OW' ? [0, 0, ...little(content.length, 4)] : little(content.length, 2)), ...content]
}

async function surveyed(...files: File[]) {
  const read = []
  for (const file of files) {
    const header = await readDicomHeader(file)
    if (header) read.push({ file: file.name, header })
  }
  return surveyOf('scans', read, files.length - read.length)
}

const series = (number: string, description: string, more: readonly Element[] = []): Element[] => [
  [0x20, 0xe, 'UI', `1.2.${number}`],
  [0x20, 0x11, 'IS', number],
  [0x8, 0x103e, 'LO', description],
  ...more,
]

describe('headers', () => {
  test.each([true, false])('with a prefix: %s', async (prefix) => {
    const header = await readDicomHeader(dicom('a.dcm', [], prefix))
    expect(header?.tags).toMatchObject({ description: 'AX T1 SMITH', number: 5, repetitionTimeMs: 600, echoTimeMs: 12, imageType: ['ORIGINAL', 'PRIMARY', 'M'] })
    expect(header?.place).toMatchObject({ rows: 4, columns: 4, frames: 1, spacingMm: [1, 1], positionMm: [0, 0, 0] })
  })

  test('what is no DICOM file is left alone; a header that is cut short is refused', async () => {
    expect(await readDicomHeader(new File(['read me'.repeat(50)], 'README'))).toBeNull()
    const whole = new Uint8Array(await dicom('a.dcm').arrayBuffer())
    await expect(readDicomHeader(new File([whole.subarray(0, 250)], 'a.dcm'))).rejects.toThrow('a.dcm: cannot be read as DICOM')
  })

  test('of a file without end no more is read than a header may have', async () => {
    const head = new Uint8Array(await dicom('a.dcm').arrayBuffer()).subarray(0, 250)
    const asked: number[] = []
    const slice = (_: number, end: number) => {
      asked.push(end)
      return new Blob([head])
    }
    await expect(readDicomHeader({ name: 'a.dcm', slice } as unknown as File)).rejects.toThrow('a.dcm: cannot be read as DICOM')
    expect(asked).toEqual([128 << 10, 64 << 20])
  })

  test('a description in Latin 1 is read', async () => {
    const header = await readDicomHeader(dicom('a.dcm', [[0x8, 0x103e, 'LO', 'T1 apr\u00e8s inj.']]))
    expect(header?.tags.description).toBe('T1 apr\u00e8s inj.')
  })
})

describe('series', () => {
  test('each sequence gets the series that is named so; the patient is in no description', async () => {
    const found = await surveyed(
      dicom('1', series('2', 'AX FLAIR', [[0x18, 0x80, 'DS', '9000'], [0x18, 0x81, 'DS', '120']])),
      dicom('2'),
      dicom('33', [[0x20, 0x32, 'DS', '0\\0\\3']]),
      dicom('4', series('7', 'AX T1 POST GD')),
      dicom('5', series('8', '3-plane localizer')),
      new File(['x'], 'README'),
    )
    expect([...found.chosen].map(([sequence, one]) => [sequence, one.label])).toEqual([['flair', '2'], ['t1', '5'], ['t1ce', '7']])
    expect(found.series.map((one) => one.description)).toEqual(['AX FLAIR', 'AX T1 ***', 'AX T1 POST GD', '3-plane localizer'])
    expect(found.chosen.get('t1')?.files).toEqual(['2', '33'])
    expect(found).toMatchObject({ problems: [], otherFiles: 1 })
  })

  test('of two, the sharper; two that are alike are for a person to choose from', async () => {
    const thick: Element[] = [[0x18, 0x50, 'DS', '5']]
    const sharp: Element[] = [[0x18, 0x50, 'DS', '1']]
    const one = await surveyed(dicom('1', series('1', 'AX T1', thick)), dicom('2', series('2', 'AX T1', sharp)))
    expect(one.chosen.get('t1')?.label).toBe('2')
    const two = await surveyed(dicom('1', series('1', 'AX T1', sharp)), dicom('2', series('2', 'AX T1', sharp)))
    expect(two.chosen.size).toBe(0)
    expect(two.problems).toEqual(['t1: series 1, 2 are equally good; choose one.'])
  })

  test('the head covered before a sharper part of it', async () => {
    const size = (pixels: number, thick: string): Element[] => [[0x28, 0x10, 'US', pixels], [0x28, 0x11, 'US', pixels], [0x28, 0x8, 'IS', '30'], [0x18, 0x50, 'DS', thick]]
    const both = await surveyed(dicom('1', series('1', 'AX T1', size(200, '5'))), dicom('2', series('2', 'AX T1', size(200, '1'))))
    expect(both.chosen.get('t1')?.label).toBe('1')
  })

  test('two patients, two examinations and no DICOM at all are refused', async () => {
    await expect(surveyed(dicom('1'), dicom('2', [[0x10, 0x20, 'LO', '4712']]))).rejects.toThrow('scans: holds files of 2 patients')
    await expect(surveyed(new File(['x'], 'README'))).rejects.toThrow('scans: no DICOM file found among 1 files.')
    const two = await surveyed(dicom('1'), dicom('2', series('2', 'AX T1 GD', [[0x20, 0xd, 'UI', '1.9']])))
    expect(two.problems).toEqual(['The series chosen come from 2 examinations (StudyInstanceUID); choose series of one.'])
    expect(two.chosen.size).toBe(0)
  })

  test('a contrast agent that every header names tells nothing apart', async () => {
    const agent: Element[] = [[0x18, 0x10, 'LO', 'GADOVIST']]
    const found = await surveyed(dicom('1', series('1', 'AX T1', agent)), dicom('2', series('2', 'AX T1 POST', agent)))
    expect([...found.chosen].map(([sequence, one]) => [sequence, one.label])).toEqual([['t1', '1'], ['t1ce', '2']])
  })
})

test('what dcm2niix resampled or took apart is not used', () => {
  const files = (...names: string[]) => names.map((name) => new File([''], name))
  expect(theVolume('5', files('volume.nii')).name).toBe('series_5.nii')
  expect(() => theVolume('5', files('volume.nii', 'volume_Eq_1.nii'))).toThrow('Series 5: its slices are unevenly spaced')
  expect(() => theVolume('5', files('volume.nii', 'volumea.nii'))).toThrow('Series 5: comes apart into 2 volumes')
  expect(() => theVolume('5', [])).toThrow('Series 5: comes apart into 0 volumes; one is needed. Use the command line: gliomask segment FOLDER.')
})
