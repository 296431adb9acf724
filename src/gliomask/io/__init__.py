"""Disk to case and back: the only readers and writers of scans."""
