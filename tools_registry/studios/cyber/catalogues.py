"""The entries of public catalogues that the security tools name, with their titles as published.

NIST SP 800-53 Revision 5 (controls; an enhancement has its number in brackets) and CWE (weaknesses), both in the public
domain or free to use. Only what a rule here names is listed: neither is the whole catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable

NIST_800_53 = {
    "AC-2": "Account Management",
    "AC-3": "Access Enforcement",
    "AC-4": "Information Flow Enforcement",
    "AC-5": "Separation of Duties",
    "AC-6": "Least Privilege",
    "AC-7": "Unsuccessful Logon Attempts",
    "AC-17": "Remote Access",
    "AU-2": "Event Logging",
    "AU-3": "Content of Audit Records",
    "AU-6": "Audit Record Review, Analysis, and Reporting",
    "AU-8": "Time Stamps",
    "AU-9": "Protection of Audit Information",
    "AU-10": "Non-repudiation",
    "AU-12": "Audit Record Generation",
    "CM-7": "Least Functionality",
    "CP-9": "System Backup",
    "CP-10": "System Recovery and Reconstitution",
    "IA-2": "Identification and Authentication (Organizational Users)",
    "IA-2(1)": "Multi-factor Authentication to Privileged Accounts",
    "IA-2(2)": "Multi-factor Authentication to Non-privileged Accounts",
    "IA-3": "Device Identification and Authentication",
    "IA-5": "Authenticator Management",
    "IA-8": "Identification and Authentication (Non-organizational Users)",
    "IA-9": "Service Identification and Authentication",
    "SC-5": "Denial-of-service Protection",
    "SC-7": "Boundary Protection",
    "SC-7(5)": "Deny by Default — Allow by Exception",
    "SC-7(10)": "Prevent Exfiltration",
    "SC-8": "Transmission Confidentiality and Integrity",
    "SC-12": "Cryptographic Key Establishment and Management",
    "SC-13": "Cryptographic Protection",
    "SC-17": "Public Key Infrastructure Certificates",
    "SC-23": "Session Authenticity",
    "SC-28": "Protection of Information at Rest",
    "SC-32": "System Partitioning",
    "SC-39": "Process Isolation",
    "SI-4": "System Monitoring",
    "SI-7": "Software, Firmware, and Information Integrity",
    "SI-10": "Information Input Validation",
    "SI-11": "Error Handling",
}
CWE = {
    "CWE-20": "Improper Input Validation",
    "CWE-117": "Improper Output Neutralization for Logs",
    "CWE-200": "Exposure of Sensitive Information to an Unauthorized Actor",
    "CWE-250": "Execution with Unnecessary Privileges",
    "CWE-269": "Improper Privilege Management",
    "CWE-287": "Improper Authentication",
    "CWE-290": "Authentication Bypass by Spoofing",
    "CWE-294": "Authentication Bypass by Capture-replay",
    "CWE-295": "Improper Certificate Validation",
    "CWE-300": "Channel Accessible by Non-Endpoint",
    "CWE-306": "Missing Authentication for Critical Function",
    "CWE-311": "Missing Encryption of Sensitive Data",
    "CWE-312": "Cleartext Storage of Sensitive Information",
    "CWE-319": "Cleartext Transmission of Sensitive Information",
    "CWE-345": "Insufficient Verification of Data Authenticity",
    "CWE-353": "Missing Support for Integrity Check",
    "CWE-400": "Uncontrolled Resource Consumption",
    "CWE-522": "Insufficiently Protected Credentials",
    "CWE-732": "Incorrect Permission Assignment for Critical Resource",
    "CWE-770": "Allocation of Resources Without Limits or Throttling",
    "CWE-778": "Insufficient Logging",
    "CWE-862": "Missing Authorization",
}
SOURCES = ("NIST SP 800-53 Revision 5", "Common Weakness Enumeration (CWE)")


def titles(ids: Iterable[str]) -> dict[str, str]:
    """Each id with its title, controls first, in the catalogues' order."""
    wanted = set(ids)
    return {one: title for one, title in (NIST_800_53 | CWE).items() if one in wanted}


def link(one: str) -> str:
    """Where the entry can be read; nothing for a control, which has no page of its own that lasts."""
    return f"https://cwe.mitre.org/data/definitions/{one.removeprefix('CWE-')}.html" if one.startswith("CWE-") else ""
