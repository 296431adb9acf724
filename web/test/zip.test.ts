import { strToU8, zipSync } from 'fflate'
import { expect, test } from 'vitest'

import { InputError } from '../src/pipeline/errors'
import { recognise } from '../src/pipeline/case'
import { unpack } from '../src/worker/zip'

function zip(files: Record<string, Uint8Array>): File {
  return new File([zipSync(files) as Uint8Array<ArrayBuffer>], 'p.zip')
}

test('NIfTI files come out, whatever folder they are in; others and hidden ones do not', async () => {
  const found = await unpack(zip({ 'a/b/p_t1.nii': strToU8('one'), 'p_t2.nii.gz': strToU8('two'), '__MACOSX/._p_t1.nii': strToU8('x'), 'read.me': strToU8('y') }))
  expect(found.map((file) => file.name).sort()).toEqual(['p_t1.nii', 'p_t2.nii.gz'])
  expect(await found.find((file) => file.name === 'p_t1.nii')?.text()).toBe('one')
})

test('what may be DICOM comes out where there is no NIfTI file', async () => {
  const found = await unpack(zip({ 'DICOM/IM0001': strToU8('one'), 'DICOM/IM0002.dcm': strToU8('two'), 'viewer.exe': strToU8('x'), '__MACOSX/DICOM/._IM0001': strToU8('y') }))
  expect(found.map((file) => file.name)).toEqual(['IM0001', 'IM0002.dcm'])
})

test('a zip without scans, and what is no zip, are refused', async () => {
  await expect(unpack(zip({ 'readme.txt': strToU8('y'), '.DS_Store': strToU8('y') }))).rejects.toThrow('p.zip: holds no NIfTI and no DICOM file. Give FLAIR, T1, T1ce and T2 as .nii or .nii.gz, or DICOM files.')
  await expect(unpack(new File(['no zip at all'], 'p.zip'))).rejects.toThrow(InputError)
})

test('more entries than a patient has are refused', async () => {
  const many = Object.fromEntries(Array.from({ length: 21 }, (_, n) => [`${n}.txt`, strToU8('')]))
  await expect(unpack(zip(many), 2 ** 20, 20)).rejects.toThrow('holds more than 20 files')
})

test('a zip bomb is refused by what comes out, not by what its header says', async () => {
  const bomb = zip({ 'p_t1.nii': new Uint8Array(12 << 20) })
  await expect(unpack(bomb, 8 << 20)).rejects.toThrow('unpacks to more than')
})

test('two files for one sequence are told apart from one', () => {
  const files = ['p_t1.nii', 'q_t1.nii.gz', 'p_flair.nii', 'p_x.nii', 'read.me'].map((name) => ({ name }))
  const found = recognise(files)
  expect([...found.files.keys()]).toEqual(['flair'])
  expect(found.several.get('t1')?.length).toBe(2)
  expect(found.unknown).toEqual([{ name: 'p_x.nii' }])
})
