"""What the security scan knows: patterns of weak code by language, of secrets, what to do, and the checklist.

CWE ids are MITRE's (cwe.mitre.org); sections are those of OWASP ASVS 4.0.3, in our own words. A pattern is searched in
text whose comments were blanked and whose lines are at most 2,000 letters long; its repeats are bounded.
"""

# A table of patterns: one rule stays one line.
# ruff: noqa: E501

from __future__ import annotations

import re
from dataclasses import dataclass

CHECKLIST = {
    "2.4.1": "Passwords are kept under a slow hash made for them",
    "2.10.4": "Passwords, keys and tokens are kept outside the source",
    "3.4.1": "Cookies are sent over TLS only",
    "3.4.2": "Scripts cannot read session cookies",
    "3.5.3": "Signed tokens are checked before they are believed",
    "4.2.2": "Other sites cannot send forms in a person's name",
    "5.1.5": "Redirects lead to known places only",
    "5.2.4": "Nothing that came from outside is run as code",
    "5.2.5": "Templates are not made of what came from outside",
    "5.3.3": "What goes into a page is escaped for its place",
    "5.3.4": "Database queries take their values as parameters",
    "5.3.8": "System commands are not put together from what came from outside",
    "5.4.1": "Memory is not written beyond its end",
    "5.5.2": "XML is read without outside entities",
    "5.5.3": "Objects are not made from untrusted bytes",
    "6.2.2": "Cryptography is a proven kind, with room for its key",
    "6.2.5": "Broken hashes, ciphers and modes are not used",
    "6.3.1": "Secret values come from a generator made for secrets",
    "7.4.1": "Errors are seen, and handled in one known way",
    "9.1.3": "Old versions of TLS are off",
    "9.2.1": "The certificate of a server is checked",
    "12.3.1": "Paths and names of files are not taken as they come",
    "12.4.1": "Files are kept where and as only their owner reaches them",
    "12.6.1": "The server fetches from known places only",
    "14.1.1": "What is built and deployed comes from a fixed, known place",
    "14.1.3": "Services and containers have no more rights than they need",
    "14.3.2": "Debugging is off where people use it",
    "14.5.3": "Other sites read answers only where they are named",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """A weakness: its id, languages, pattern, how bad and how sure, CWE, ASVS section, and what to do."""

    id: str
    languages: tuple[str, ...]
    pattern: re.Pattern[str]
    severity: str
    confidence: str
    cwe: int
    section: str
    title: str
    fix: str


def _rule(
    id: str, languages: str, pattern: str, severity: str, confidence: str, cwe: int, section: str, title: str, fix: str
) -> Rule:
    return Rule(id, tuple(languages.split()), re.compile(pattern, re.M), severity, confidence, cwe, section, title, fix)


# All in capitals or all in small letters: "Select a boat from" is a sentence
SQL = (
    r"(?:SELECT\s[^\n\"'`]{0,200}\sFROM\s|INSERT\s+INTO\s|UPDATE\s+[\w.\"`]{1,80}\s+SET\s|DELETE\s+FROM\s"
    r"|select\s[^\n\"'`]{0,200}\sfrom\s|insert\s+into\s|update\s+[\w.\"`]{1,80}\s+set\s|delete\s+from\s)"
)
QUERY = re.compile(rf"[\"']\s*{SQL}|^\s*{SQL}", re.M)
PARAMETERS = "Write the query with placeholders and give the values beside it."
NO_SHELL = "Call the program with a list of arguments and no shell; check each argument against what is allowed."
CERTIFICATE = "Leave the check on. For a certificate of your own, name its authority instead."
HASHES = "Use SHA-256 or better; for passwords a slow hash made for them, such as Argon2id or bcrypt."
PINNED = "Name the exact version, best by its digest or full commit, and update it on purpose."

RULES = (
    # JavaScript and TypeScript
    _rule("JS-EVAL", "javascript", r"(?<![\w.$])(?:eval\s*\((?!\s*\))|new\s+Function\s*\()", "high", "medium", 95, "5.2.4", "Text is run as code", "Use JSON.parse for data, and a table of functions for what can be chosen."),
    _rule("JS-TIMER", "javascript", r"\b(?:setTimeout|setInterval)\s*\(\s*[\"'`]", "medium", "high", 95, "5.2.4", "A timer runs text as code", "Give the timer a function."),
    _rule("JS-HTML", "javascript", r"\.(?:innerHTML|outerHTML)\s*\+?=(?!=)(?!\s*(?:\"[^\"\n]{0,500}\"|'[^'\n]{0,500}'|`[^`$\n]{0,500}`)\s*(?:;|$))(?!\s*(?:DOMPurify\.sanitize|sanitizeHtml|escapeHtml)\s*\()", "high", "medium", 79, "5.3.3", "Markup is made from values", "Set textContent, or clean the markup with a library made for it."),
    _rule("JS-INSERT", "javascript", r"\.insertAdjacentHTML\s*\(|\bdocument\.write(?:ln)?\s*\(", "medium", "medium", 79, "5.3.3", "Markup is written into the page", "Make elements and set their text."),
    _rule("JS-REACT", "javascript", r"\bdangerouslySetInnerHTML\b|\bv-html\s*=|\bbypassSecurityTrustHtml\s*\(", "medium", "medium", 79, "5.3.3", "The framework's escaping is passed by", "Let the framework escape, or clean the markup first."),
    _rule("JS-COMMAND", "javascript", r"\b(?:exec|execSync)\s*\(\s*(?:`[^`\n]{0,300}\$\{|[\"'][^\"'\n]{0,300}[\"']\s*\+|\w+\s*\+)", "high", "high", 78, "5.3.8", "A system command is put together from values", "Use execFile or spawn with a list of arguments."),
    _rule("JS-SPAWN", "javascript", r"\bshell\s*:\s*true\b", "medium", "medium", 78, "5.3.8", "A process is started through a shell", NO_SHELL),
    _rule("JS-SQL", "javascript", rf"`\s*{SQL}[^`]{{0,400}}\$\{{|[\"']\s*{SQL}[^\"'\n]{{0,300}}(?:'[^\"\n]{{0,20}})?[\"']\s*\+", "high", "high", 89, "5.3.4", "A query is put together from values", PARAMETERS),
    _rule("JS-WHERE", "javascript", r"\$where\b\s*[\"']?\s*:", "medium", "medium", 943, "5.3.4", "A MongoDB query runs code", "Use query operators with values."),
    _rule("JS-TLS", "javascript", r"\brejectUnauthorized\s*:\s*false\b|NODE_TLS_REJECT_UNAUTHORIZED\s*[\"']?\]?\s*=\s*[\"']?0", "high", "high", 295, "9.2.1", "Certificates are not checked", CERTIFICATE),
    _rule("JS-RANDOM", "javascript", r"(?i:token|secret|password|session|nonce|otp|csrf)\w{0,40}\s*[:=][^\n;]{0,120}Math\.random\s*\(", "medium", "medium", 338, "6.3.1", "A secret value can be guessed", "Use crypto.randomBytes or crypto.getRandomValues."),
    _rule("JS-HASH", "javascript", r"\bcreateHash\s*\(\s*[\"'`](?:md5|sha1|md4)[\"'`]", "medium", "high", 328, "6.2.5", "A broken hash", HASHES),
    _rule("JS-CIPHER", "javascript", r"\bcreate(?:Cipher|Decipher)\s*\(|\bcreateCipheriv\s*\(\s*[\"'`](?:des|rc4|[\w-]{1,20}-ecb)", "high", "high", 327, "6.2.5", "A broken cipher or mode", "Use createCipheriv with aes-256-gcm and a fresh nonce."),
    _rule("JS-MESSAGE", "javascript", r"\.postMessage\s*\([^\n;]{1,200},\s*[\"']\*[\"']\s*\)", "low", "high", 346, "14.5.3", "A message for every site", "Name the origin that may read it."),
    _rule("JS-CORS", "javascript", r"[\"']Access-Control-Allow-Origin[\"']\s*[,:]\s*[\"']\*[\"']|\bcors\s*\(\s*(?:\)|\{[^{}]{0,200}\borigin\s*:\s*[\"']\*[\"'])", "low", "medium", 942, "14.5.3", "Every site may read the answers", "Name the origins that may."),
    _rule("JS-COOKIE", "javascript", r"\bhttpOnly\s*:\s*false\b", "medium", "high", 1004, "3.4.2", "Scripts can read a cookie", "Set httpOnly to true for session cookies."),
    _rule("JS-COOKIE-TLS", "javascript", r"\bcookie\w{0,20}[^\n]{0,200}\bsecure\s*:\s*false\b", "medium", "medium", 614, "3.4.1", "A cookie is sent without TLS", "Set secure to true."),
    _rule("JS-ECHO", "javascript", r"\bres\.(?:send|write|end)\s*\(\s*(?:`[^`\n]{0,200}\$\{[^}\n]{0,60}|[\"'][^\"'\n]{0,200}[\"']\s*\+[^;\n]{0,100})\breq\.(?:query|params|body|cookies)\b", "high", "high", 79, "5.3.3", "What came in goes out as markup", "Render a template that escapes, or escape the value."),
    _rule("JS-REDIRECT", "javascript", r"\bres\.redirect\s*\((?:\s*\d{3}\s*,)?\s*req\.(?:query|body|params)\b", "medium", "high", 601, "5.1.5", "A redirect leads where the request says", "Redirect to addresses of your own only."),
    _rule("JS-TOKEN", "javascript", r"\balgorithms?\s*:\s*\[?\s*[\"']none[\"']", "high", "high", 347, "3.5.3", "A token’s signature is not checked", "Check the signature, and name the algorithms that you sign with."),
    _rule("JS-PATH", "javascript", r"\b(?:readFile|readFileSync|createReadStream|sendFile)\s*\([^;\n]{0,120}\breq\.(?:query|params|body)\b", "high", "medium", 22, "12.3.1", "The name of a file comes as it came in", "Look it up by an id, or check that the resolved path stays in its folder."),
    _rule("JS-FETCH", "javascript", r"\b(?:fetch|axios(?:\.(?:get|post|request))?|got)\s*\(\s*req\.(?:query|params|body)\b", "high", "high", 918, "12.6.1", "The server fetches what the request names", "Allow known hosts only."),
    # Java and Kotlin
    _rule("JAVA-COMMAND", "java", r"\.exec\s*\(\s*(?:\"[^\"\n]{0,200}\"\s*\+|\w+\s*\+)", "high", "high", 78, "5.3.8", "A system command is put together from values", "Use ProcessBuilder with a list of arguments."),
    _rule("JAVA-SQL", "java", rf"\"\s*{SQL}[^\"\n]{{0,300}}\"\s*\+\s*\w", "high", "high", 89, "5.3.4", "A query is put together from values", "Use PreparedStatement with ?."),
    _rule("JAVA-OBJECT", "java", r"\bnew\s+ObjectInputStream\s*\(|\.readUnshared\s*\(", "high", "medium", 502, "5.5.3", "Objects are made from bytes", "Read a data format such as JSON, or filter the classes (JEP 290)."),
    _rule("JAVA-HASH", "java", r"MessageDigest\.getInstance\s*\(\s*\"(?:MD5|MD2|SHA-?1)\"", "medium", "high", 328, "6.2.5", "A broken hash", HASHES),
    _rule("JAVA-CIPHER", "java", r"Cipher\.getInstance\s*\(\s*\"(?:DES|DESede|RC4|RC2|AES\"|AES/ECB|Blowfish)", "high", "high", 327, "6.2.5", "A broken cipher or mode", "Use AES/GCM/NoPadding with a fresh nonce."),
    _rule("JAVA-TRUST", "java", r"\bvoid\s+checkServerTrusted\s*\([^)]{0,200}\)\s*(?:throws\s+\w+\s*)?\{\s*\}|NoopHostnameVerifier|ALLOW_ALL_HOSTNAME_VERIFIER", "high", "high", 295, "9.2.1", "Certificates are not checked", CERTIFICATE),
    # PHP
    _rule("PHP-EVAL", "php", r"(?<![\w>:$])(?:eval|assert|create_function)\s*\(\s*[^)\n]{0,100}\$", "high", "medium", 95, "5.2.4", "Text is run as code", "Use a table of functions for what can be chosen."),
    _rule("PHP-COMMAND", "php", r"(?<![\w>:$])(?:system|exec|shell_exec|passthru|popen|proc_open)\s*\([^)\n]{0,200}\$", "high", "medium", 78, "5.3.8", "A system command is put together from values", "Use escapeshellarg for each argument, or no command at all."),
    _rule("PHP-SQL", "php", rf"\"\s*{SQL}[^\"\n]{{0,300}}(?:\$\w|\"\s*\.\s*\$)|'\s*{SQL}[^'\n]{{0,300}}'\s*\.\s*\$", "high", "high", 89, "5.3.4", "A query is put together from values", PARAMETERS),
    _rule("PHP-OBJECT", "php", r"(?<![\w>:$])unserialize\s*\([^)\n]{0,100}\$(?![^)\n]{0,150}allowed_classes)", "high", "medium", 502, "5.5.3", "Objects are made from bytes", "Use json_decode."),
    _rule("PHP-ECHO", "php", r"\b(?:echo|print)\b[^;\n]{0,200}(?<!htmlspecialchars\()(?<!htmlentities\()\$_(?:GET|POST|REQUEST|COOKIE)\b", "high", "high", 79, "5.3.3", "What came in goes out as markup", "Escape it with htmlspecialchars."),
    _rule("PHP-INCLUDE", "php", r"\b(?:include|require)(?:_once)?\b[^;\n]{0,100}\$_(?:GET|POST|REQUEST|COOKIE)\b", "critical", "high", 98, "12.3.1", "The file that is run is chosen from outside", "Choose from a fixed list."),
    _rule("PHP-HASH", "php", r"(?<![\w>:$])(?:md5|sha1)\s*\(\s*\$\w{0,20}(?i:pass|pwd)", "high", "high", 916, "6.2.5", "A password under a fast hash", "Use password_hash and password_verify."),
    # Go
    _rule("GO-COMMAND", "go", r"exec\.Command(?:Context)?\s*\([^)\n]{0,60}\"(?:ba|z)?sh\"\s*,\s*\"-c\"\s*,\s*(?!\")", "high", "high", 78, "5.3.8", "A shell runs a value", NO_SHELL),
    _rule("GO-SQL", "go", rf"fmt\.Sprintf\s*\(\s*[\"`]\s*{SQL}[^\n]{{0,300}}%|\"\s*{SQL}[^\"\n]{{0,300}}\"\s*\+\s*\w", "high", "high", 89, "5.3.4", "A query is put together from values", PARAMETERS),
    _rule("GO-TLS", "go", r"\bInsecureSkipVerify\s*:\s*true\b", "high", "high", 295, "9.2.1", "Certificates are not checked", CERTIFICATE),
    _rule("GO-HASH", "go", r"\b(?:md5|sha1)\.(?:New|Sum)\s*\(", "medium", "high", 328, "6.2.5", "A broken hash", HASHES),
    _rule("GO-TEMPLATE", "go", r"\btemplate\.HTML\s*\(\s*(?!\")", "medium", "medium", 79, "5.3.3", "The template's escaping is passed by", "Let html/template escape the value."),
    # Ruby
    _rule("RUBY-EVAL", "ruby", r"(?<![\w.])(?:eval|instance_eval|class_eval)\s*[( ]\s*(?:params|request|\w+\[)", "high", "medium", 95, "5.2.4", "Text is run as code", "Use a table of methods for what can be chosen."),
    _rule("RUBY-COMMAND", "ruby", r"(?:(?<![\w.])(?:system|exec|spawn)\s*\(?\s*\"|`|%x[({\[])[^\"`\n]{0,200}#\{", "high", "high", 78, "5.3.8", "A system command is put together from values", "Give system a list of arguments."),
    _rule("RUBY-SQL", "ruby", r"\.(?:where|find_by_sql|execute|order|joins)\s*\(?\s*\"[^\"\n]{0,300}#\{", "high", "high", 89, "5.3.4", "A query is put together from values", PARAMETERS),
    _rule("RUBY-OBJECT", "ruby", r"\bMarshal\.load\s*\(|\bYAML\.(?:unsafe_load|load)\s*\(", "high", "medium", 502, "5.5.3", "Objects are made from text", "Use YAML.safe_load or JSON.parse."),
    _rule("RUBY-HTML", "ruby", r"\.html_safe\b|(?<![\w.])raw\s*\(", "medium", "low", 79, "5.3.3", "The template's escaping is passed by", "Let the template escape, or use sanitize."),
    # C and C++
    _rule("C-GETS", "c", r"(?<![\w.>])gets\s*\(", "critical", "high", 242, "5.4.1", "gets cannot know where its room ends", "Use fgets with the size of the room."),
    _rule("C-COPY", "c", r"(?<![\w.>])(?:strcpy|strcat|sprintf|vsprintf)\s*\((?![^;\n]{0,100},\s*\"[^\"%\n]{0,80}\"\s*\))", "medium", "medium", 120, "5.4.1", "A copy without a bound", "Use snprintf or a copy that is told the size."),
    _rule("C-SCAN", "c", r"(?<![\w.>])s?f?scanf\s*\([^;\n]{0,80}\"[^\"\n]{0,80}%s", "high", "high", 120, "5.4.1", "A text is read without a bound", "Write the width: %63s."),
    _rule("C-FORMAT", "c", r"(?<![\w.>])printf\s*\(\s*[A-Za-z_]\w*\s*\)", "medium", "medium", 134, "5.4.1", "A value is the format", 'Write printf("%s", value).'),
    _rule("C-COMMAND", "c", r"(?<![\w.>])(?:system|popen)\s*\(\s*(?!\")\w", "medium", "medium", 78, "5.3.8", "A shell runs a value", "Use execve with a list of arguments."),
    # C#
    _rule("CS-OBJECT", "csharp", r"\bnew\s+(?:BinaryFormatter|NetDataContractSerializer|LosFormatter|SoapFormatter)\s*\(|TypeNameHandling\.(?:All|Auto|Objects)", "high", "high", 502, "5.5.3", "Objects are made from bytes", "Use System.Text.Json with known types."),
    _rule("CS-SQL", "csharp", rf"\$\"\s*{SQL}[^\"\n]{{0,300}}\{{|\"\s*{SQL}[^\"\n]{{0,300}}\"\s*\+\s*\w", "high", "high", 89, "5.3.4", "A query is put together from values", PARAMETERS),
    _rule("CS-TLS", "csharp", r"ServerCertificate(?:Custom)?ValidationCallback\s*\+?=[^;\n]{0,120}(?:=>\s*true|DangerousAcceptAny)", "high", "high", 295, "9.2.1", "Certificates are not checked", CERTIFICATE),
    _rule("CS-HASH", "csharp", r"\b(?:MD5|SHA1)(?:\.Create|CryptoServiceProvider)\s*\(", "medium", "high", 328, "6.2.5", "A broken hash", HASHES),
    # SQL
    _rule("SQL-GRANT", "sql", r"(?i)\bgrant\s+all\b[^;]{0,200}\bto\s+(?:public\b|'?\w*'?@'%')", "high", "high", 732, "14.1.3", "Everybody gets every right", "Grant what is needed, to the role that needs it."),
    _rule("SQL-DYNAMIC", "sql", r"(?i)\bexec(?:ute)?(?:\s+immediate)?\s*\(?\s*N?'[^'\n]{0,300}'\s*(?:\+|\|\|)", "high", "high", 89, "5.3.4", "A query is put together from values", "Use sp_executesql, EXECUTE … USING, or bind variables."),
    _rule("SQL-SHELL", "sql", r"(?i)\bxp_cmdshell\b", "high", "high", 78, "5.3.8", "The database starts programs", "Leave xp_cmdshell off."),
    # Shell
    _rule("SH-PIPE", "shell docker workflow gitlab", r"\b(?:curl|wget)\b[^\n|;&]{0,300}\|\s*(?:sudo\s+)?(?:ba|z|da)?sh\b", "high", "high", 494, "14.1.1", "A download is run unseen", "Download it, check its checksum or signature, then run it."),
    _rule("SH-EVAL", "shell", r"(?:^|[;&|]\s*|\s)eval\s+[^\n]{0,80}\$", "medium", "medium", 95, "5.2.4", "Text is run as code", "Use arrays, and quote them: \"${command[@]}\"."),
    _rule("SH-OPEN", "shell docker", r"\bchmod\s+(?:-R\s+)?(?:0?777|a\+rwx|ugo\+rwx)\b", "medium", "high", 732, "12.4.1", "Everybody may write", "Give the rights that are needed: 750 or 640."),
    _rule("SH-TLS", "shell docker workflow gitlab", r"\bcurl\b[^\n]{0,200}\s(?:-k|--insecure)\b|\bwget\b[^\n]{0,200}--no-check-certificate", "high", "high", 295, "9.2.1", "Certificates are not checked", CERTIFICATE),
    # Dockerfile
    _rule("DOCKER-ADD", "docker", r"(?i)^\s*ADD\s+(?:--\S{1,60}\s+)*https?://", "medium", "high", 494, "14.1.1", "A download is built in unchecked", "Use ADD --checksum=sha256:…, or curl and a checksum."),
    _rule("DOCKER-SUDO", "docker", r"(?i)^\s*RUN\b[^\n]{0,200}\bsudo\s", "low", "medium", 250, "14.1.3", "sudo in an image", "Do what needs root before USER, and leave sudo out."),
    # GitHub Actions and GitLab
    _rule("CI-INPUT", "workflow", r"\$\{\{\s*github\.(?:event\.(?:issue|pull_request|comment|review|discussion|head_commit)\.[\w.]{0,60}(?:title|body|message|ref|label|email|name)|head_ref)\s*\}\}", "high", "medium", 94, "5.2.4", "A stranger's words become part of a script", 'Hand them over as an environment variable and quote it: "$TITLE".'),
    _rule("CI-PINNED", "workflow", r"\buses:\s*[\"']?(?!\./)(?!docker://)[\w.\-]+/[\w.\-/]+@(?:main|master|develop|HEAD|latest)\b", "medium", "high", 829, "14.1.1", "An action can change under you", PINNED),
    _rule("CI-RIGHTS", "workflow", r"^\s*permissions:\s*write-all\b", "medium", "high", 250, "14.1.3", "The workflow may write everything", "Name the permissions it needs, each by itself."),
    # Kubernetes and Compose
    _rule("K8S-PRIVILEGED", "yaml compose", r"^\s*-?\s*privileged:\s*[\"']?true\b", "high", "high", 250, "14.1.3", "The container has the host's rights", "Leave it out; add the one capability that is needed."),
    _rule("K8S-ESCALATE", "yaml", r"^\s*-?\s*allowPrivilegeEscalation:\s*true\b", "medium", "high", 250, "14.1.3", "A process may gain rights", "Set it to false."),
    _rule("K8S-ROOT", "yaml", r"^\s*-?\s*runAsUser:\s*0\s*$|^\s*-?\s*runAsNonRoot:\s*false\b", "medium", "high", 250, "14.1.3", "The container runs as root", "Set runAsNonRoot to true, and a user above 0."),
    _rule("K8S-HOST", "yaml", r"^\s*-?\s*host(?:Network|PID|IPC):\s*true\b", "high", "high", 653, "14.1.3", "The container shares the host's own rooms", "Leave it out."),
    _rule("DOCKER-SOCKET", "yaml compose", r"/var/run/docker\.sock", "high", "high", 250, "14.1.3", "The container rules its host", "Do not mount the socket; use a proxy that allows little."),
    # Terraform
    _rule("TF-WORLD", "terraform", r"\bingress\b\s*=?\s*\[?\s*\{[^{}]{0,600}[\"'](?:0\.0\.0\.0/0|::/0)[\"']", "high", "medium", 284, "14.1.3", "The whole internet may come in", "Name the networks that may; only 80 and 443 are for everybody."),
    _rule("TF-PUBLIC", "terraform", r"\bacl\s*=\s*\"public-read(?:-write)?\"|\bpublicly_accessible\s*=\s*true\b|\bblock_public_(?:acls|policy)\s*=\s*false\b", "high", "high", 732, "12.4.1", "A store is open to everybody", "Make it private, and give out what people need."),
    _rule("TF-PLAIN", "terraform", r"\b(?:storage_encrypted|encrypted|encrypt_at_rest|enable_disk_encryption)\s*=\s*false\b", "medium", "high", 311, "6.2.2", "What is stored is not encrypted", "Set it to true, with a key of your own where you can."),
    _rule("TF-RIGHTS", "terraform json", r"\"?\b[Aa]ctions?\"?\s*[:=]\s*\[?\s*\"\*\"", "high", "medium", 250, "14.1.3", "A policy allows everything", "Name the actions and resources."),
    _rule("TF-TLS", "terraform", r"\b(?:minimum_protocol_version|min_tls_version|minimum_tls_version|ssl_policy)\s*=\s*\"(?:SSLv3|TLSv1(?:_2016|\.1_2016)?|TLS1_0|TLS1_1|1\.0|1\.1|ELBSecurityPolicy-2015-05)\"", "medium", "high", 327, "9.1.3", "An old version of TLS", "Ask for TLS 1.2 or later."),
    # Pages
    _rule("HTML-ESCAPE", "html", r"\{\{[^}\n]{0,200}\|\s*safe\s*\}\}|\{%-?\s*autoescape\s+(?:off|false)|\{\{\{[^}\n]{1,200}\}\}\}|<%-\s", "medium", "medium", 79, "5.3.3", "The template's escaping is passed by", "Let the template escape, or clean the markup first."),
)  # fmt: skip

# Of bandit's tests, by their ids: severity is bandit's own unless written here
PYTHON: dict[str, tuple[int, str, str, str]] = {
    "B101": (703, "7.4.1", "assert is left out by python -O", "Raise an exception where it must hold."),
    "B102": (78, "5.2.4", "Text is run as code", "Use a table of functions for what can be chosen."),
    "B103": (732, "12.4.1", "Everybody may read or write the file", "Give 0o600 to files, 0o700 to programs of your own."),
    "B104": (605, "14.1.3", "It listens to every network", "Listen to 127.0.0.1, or to the address that is meant."),
    "B108": (377, "12.4.1", "A known name in a folder that all share", "Use tempfile.TemporaryDirectory or NamedTemporaryFile."),
    "B110": (703, "7.4.1", "An error is passed over in silence", "Catch what you expect, and note the rest."),
    "B112": (703, "7.4.1", "An error is passed over in silence", "Catch what you expect, and note the rest."),
    "B113": (400, "7.4.1", "A request that may wait for ever", "Give it timeout=, for example 10 seconds."),
    "B201": (94, "14.3.2", "Flask's debugger is on: it runs code for whoever asks", "Leave debug off, and let a setting turn it on at home."),
    "B202": (22, "12.3.1", "An archive may write outside its folder", 'Use extractall(filter="data"), or check each name.'),
    "B301": (502, "5.5.3", "pickle runs code that its bytes bring", "Use JSON for what comes from outside."),
    "B302": (502, "5.5.3", "marshal makes objects from bytes", "Use JSON for what comes from outside."),
    "B303": (327, "6.2.5", "A broken hash", HASHES),
    "B304": (327, "6.2.5", "A broken cipher", "Use AES-GCM or ChaCha20-Poly1305."),
    "B305": (327, "6.2.5", "A broken mode of a cipher", "Use GCM with a fresh nonce."),
    "B306": (377, "12.4.1", "Between mktemp and open somebody else may take the name", "Use tempfile.mkstemp or NamedTemporaryFile."),
    "B307": (95, "5.2.4", "Text is run as code", "Use ast.literal_eval for values, a table of functions for choices."),
    "B308": (79, "5.3.3", "The template's escaping is passed by", "Use format_html."),
    "B310": (22, "12.3.1", "urlopen opens file: as well", "Allow http and https only, before opening."),
    "B311": (330, "6.3.1", "Chance that can be foretold", "For secrets use the module secrets."),
    "B312": (319, "9.2.1", "telnet speaks in the clear", "Use SSH."),
    "B321": (319, "9.2.1", "FTP speaks in the clear", "Use SFTP or HTTPS."),
    "B323": (295, "9.2.1", "Certificates are not checked", CERTIFICATE),
    "B324": (327, "6.2.5", "A broken hash", HASHES + " Where it protects nothing, say usedforsecurity=False."),
    "B501": (295, "9.2.1", "Certificates are not checked", CERTIFICATE),
    "B502": (327, "9.1.3", "An old version of TLS", "Use ssl.create_default_context."),
    "B503": (327, "9.1.3", "An old version of TLS", "Use ssl.create_default_context."),
    "B504": (327, "9.1.3", "No version of TLS is asked for", "Use ssl.create_default_context."),
    "B505": (326, "6.2.2", "A key that is too short", "Use at least 2,048 bits for RSA, 256 for curves."),
    "B506": (20, "5.5.3", "yaml.load makes objects that the text names", "Use yaml.safe_load."),
    "B507": (295, "9.2.1", "The host's key is not checked", "Use RejectPolicy and known hosts."),
    "B601": (78, "5.3.8", "A command on another machine is put together from values", "Quote each value with shlex.quote."),
    "B602": (78, "5.3.8", "A process is started through a shell", NO_SHELL),
    "B604": (78, "5.3.8", "A function is called with a shell", NO_SHELL),
    "B605": (78, "5.3.8", "A process is started through a shell", NO_SHELL),
    "B608": (89, "5.3.4", "A query is put together from values", PARAMETERS),
    "B609": (155, "5.3.8", "A wildcard in a command", "Name the files, or put -- before them."),
    "B610": (89, "5.3.4", "extra() takes SQL as it comes", "Use expressions of Django, or params=."),
    "B611": (89, "5.3.4", "RawSQL takes SQL as it comes", "Give the values as params."),
    "B612": (94, "5.2.4", "A logging configuration runs code", "Read it from a file of your own only."),
    "B613": (838, "5.2.4", "The text shows in another order than it is read", "Take the control letters out."),
    "B614": (502, "5.5.3", "torch.load makes objects from bytes", "Use weights_only=True, or safetensors."),
    "B615": (494, "14.1.1", "A model is fetched without a fixed version", "Give revision= with a full commit."),
    "B701": (79, "5.3.3", "jinja2 does not escape", "Use autoescape=select_autoescape()."),
    "B702": (79, "5.3.3", "Mako does not escape", 'Use default_filters=["h"].'),
    "B703": (79, "5.3.3", "The template's escaping is passed by", "Use format_html."),
    "B704": (79, "5.3.3", "The template's escaping is passed by", "Use Markup only around fixed text."),
}  # fmt: skip
XML = (611, "5.5.2", "XML is read with outside entities and bombs", "Use defusedxml.")
PYTHON |= {f"B{number}": XML for number in range(313, 320)}
OLD = (327, "6.2.5", "A library that nobody keeps any more", "Use the library cryptography.")
PYTHON |= {"B413": OLD, "B401": PYTHON["B312"], "B402": PYTHON["B321"]}
UNTOLD = (1164, "14.1.1", "Weak code", "Read what bandit says of it.")
# That a module is imported, or a program called without a shell, is no weakness by itself. Passwords are ours to find.
LEFT_OUT = frozenset({"B105", "B106", "B107", "B403", "B404", "B405", "B406", "B407", "B408", "B409", "B411", "B412", "B415", "B603", "B606", "B607"})  # fmt: skip

# Secrets by their form: id, what it is, pattern (a group if the secret is a part of it), severity
SECRETS = tuple(
    (id, title, re.compile(pattern, re.M), severity)
    for id, title, pattern, severity in (
        ("SECRET-AWS-ID", "Amazon access key id", r"\b((?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16})\b", "high"),
        ("SECRET-AWS", "Amazon secret access key", r"(?i)aws.{0,30}?(?:secret|key|token).{0,20}?[=:]\s*[\"']?([0-9a-zA-Z/+]{40})(?![0-9a-zA-Z/+=])", "critical"),
        ("SECRET-GITHUB", "GitHub token", r"\b((?:ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9]{36,251}|github_pat_[A-Za-z0-9_]{40,255})", "critical"),
        ("SECRET-GITLAB", "GitLab token", r"\b((?:glpat|gldt|glft|glsoat|glrt|glcbt|glptt)-[A-Za-z0-9_\-]{20,64})", "critical"),
        ("SECRET-SLACK", "Slack token", r"\b(xox[abposr]-(?:\d{1,20}-){1,4}[A-Za-z0-9]{8,64})", "high"),
        ("SECRET-SLACK-HOOK", "Slack webhook", r"(https://hooks\.slack\.com/services/T\w{6,20}/B\w{6,20}/\w{16,40})", "medium"),
        ("SECRET-STRIPE", "Stripe live key", r"\b((?:sk|rk)_live_[0-9a-zA-Z]{16,128})", "critical"),
        ("SECRET-STRIPE-TEST", "Stripe test key", r"\b((?:sk|rk)_test_[0-9a-zA-Z]{16,128})", "medium"),
        ("SECRET-GOOGLE", "Google API key", r"\b(AIza[0-9A-Za-z_\-]{35})(?![0-9A-Za-z_\-])", "high"),
        ("SECRET-OPENAI", "OpenAI key", r"\b(sk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_\-]{0,120}T3BlbkFJ[A-Za-z0-9_\-]{20,120})", "critical"),
        ("SECRET-ANTHROPIC", "Anthropic key", r"\b(sk-ant-[A-Za-z0-9_\-]{40,140})", "critical"),
        ("SECRET-SENDGRID", "SendGrid key", r"\b(SG\.[A-Za-z0-9_\-]{22}\.[A-Za-z0-9_\-]{43})", "high"),
        ("SECRET-TWILIO", "Twilio key", r"\b(SK[0-9a-f]{32})\b", "high"),
        ("SECRET-MAILCHIMP", "Mailchimp key", r"\b([0-9a-f]{32}-us[0-9]{1,2})\b", "high"),
        ("SECRET-NPM", "npm token", r"\b(npm_[A-Za-z0-9]{36})\b", "critical"),
        ("SECRET-PYPI", "PyPI token", r"(pypi-AgE[A-Za-z0-9_\-]{60,250})", "critical"),
        ("SECRET-TELEGRAM", "Telegram bot token", r"\b(\d{8,10}:AA[0-9A-Za-z_\-]{33})(?![0-9A-Za-z_\-])", "high"),
        ("SECRET-DISCORD", "Discord bot token", r"\b([MNO][A-Za-z\d_\-]{23,25}\.[A-Za-z\d_\-]{6}\.[A-Za-z\d_\-]{27,38})\b", "high"),
        ("SECRET-AZURE", "Azure storage key", r"AccountKey=([A-Za-z0-9+/]{86}==)", "critical"),
        ("SECRET-SQUARE", "Square secret", r"\b(sq0csp-[0-9A-Za-z_\-]{43})", "high"),
        ("SECRET-JWT", "Signed token (JWT)", r"\b(eyJ[A-Za-z0-9_\-]{8,600}\.eyJ[A-Za-z0-9_\-]{8,1200}\.[A-Za-z0-9_\-]{8,600})", "medium"),
        ("SECRET-KEY", "Private key", r"(-----BEGIN (?:RSA |EC |DSA |OPENSSH |ENCRYPTED |PGP )?PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-[23])", "critical"),
        ("SECRET-ADDRESS", "Password in an address", r"\b[a-z][a-z0-9+.\-]{1,20}://[^\s:/?#@\"'<>{}$%]{1,80}:([^\s:/?#@\"'<>{}$%]{3,120})@[\w.\-]", "high"),
    )
)  # fmt: skip
NAMES = r"(?:pass(?:word|wd|phrase)?|pwd|secret|token|api[_\-]?key|access[_\-]?key|private[_\-]?key|client[_\-]?secret|auth[_\-]?key|encryption[_\-]?key|signing[_\-]?key|secret[_\-]?key|credential)"  # fmt: skip
QUOTED = re.compile(
    rf"(?i)(?<![\w\-])([\w.\-]{{0,40}}{NAMES}[\w\-]{{0,20}})[\"'\]]{{0,2}}[ \t]{{0,8}}(?::[ \t]?\w{{1,20}}[ \t]{{0,4}})?(?::=|=>|==|=|:)[ \t]{{0,8}}[rbuf]?([\"'])([^\"'\n]{{4,300}})\2"
)
UNQUOTED = re.compile(
    rf"(?im)^\s*(?:export\s+|-\s+|ENV\s+|ARG\s+)?([\w.\-]{{0,40}}{NAMES}[\w\-]{{0,20}})[ \t]{{0,8}}[=:][ \t]{{0,8}}([^\s\"'#]{{6,300}})[ \t]*$"
)
# What stands where a secret would: a reference, a gap to fill, a word for nothing
NO_SECRET = re.compile(
    r"(?i)^(?:[$%<{*.\[(@]|x{3,}|none$|null$|nil$|true$|false$|undefined$|required$|optional$|string$|todo|file:|vault:|arn:|ssm:"
    r"|https?://[^@]*$|\.{0,2}/|process\.env|os\.|env\.|secrets?\.|config\.|settings\.|self\.|request\.|[\w.]+\()"
    r"|example|placeholder|change[_\- ]?me|your[_\- ]|dummy|\$\{|\{\{|%\(|redacted|\s"
)
QUOTED_LONG = re.compile(r"([\"'])([A-Za-z0-9+/=_\-]{24,200})\1")
# Numbers about a secret: how long it lives, how long it is
MEASURE = re.compile(
    r"(?i)(?:second|minute|hour|day|expir\w*|ttl|age|length|len|size|count|max|min|limit|version|attempt|timeout|id|bits?|rounds)s?$"
)
NO_CHANCE = re.compile(
    r"(?i)integrity|\bsha\b|sha(?:1|2|256|384|512)|hash|digest|checksum|etag|fingerprint|uuid|alphabet|charset|base64,"
)
