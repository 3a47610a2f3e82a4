from benchmarks.machine import kind_of_cpu, this_machine

EPYC = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 26
model\t\t: 2
model name\t: AMD EPYC
flags\t\t: fpu sse2 avx2 avx512f avx_vnni avx512_bf16 avx512_vnni avx512_vnni_of_no_kind

processor\t: 1
model name\t: another
flags\t\t: amx_tile
"""


def test_a_machine_is_its_first_cpus_name_and_what_multiplies_matrices() -> None:
    expected = (
        "AMD EPYC (family 26, model 2), 2 cores, avx2, avx512f, avx512_vnni, avx_vnni, avx512_bf16"
    )
    assert kind_of_cpu(EPYC, 2) == expected


def test_matrix_units_are_named() -> None:
    line = kind_of_cpu("model name: Xeon\nflags: avx2 amx_tile amx_int8 amx_bf16", 1)
    assert line == "Xeon, 1 core, avx2, amx_tile, amx_int8, amx_bf16"


def test_a_system_that_says_nothing_still_has_cores() -> None:
    assert kind_of_cpu("", 3).endswith(", 3 cores")


def test_this_machine_is_one_line() -> None:
    assert " core" in this_machine()
    assert "\n" not in this_machine()
